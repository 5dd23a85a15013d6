//! The extension for binary tensors, which clients written in Python use unless told otherwise: what
//! the JSON of a request or an answer leaves out stands behind it, tensor after tensor, little end
//! first. `Inference-Header-Content-Length` says where the JSON ends.

use ::axum::body::Bytes;
use ::axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use ::axum::http::{HeaderMap, HeaderName, HeaderValue};
use ::axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::foreign::{malformed, quoted};
use super::super::problem::Problem;
use super::{BYTES, FP64, INT64};

/// Where the JSON ends.
pub(super) const JSON_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// JSON and what stands behind it.
pub(super) fn split(headers: &HeaderMap, mut body: Bytes) -> Result<(Bytes, Bytes), Problem> {
    let Some(told) = headers.get(JSON_LENGTH) else { return Ok((body, Bytes::new())) };
    let length = told.to_str().ok().and_then(|text| text.parse().ok());
    match length.filter(|length| *length <= body.len()) {
        Some(length) => {
            let behind = body.split_off(length);
            Ok((body, behind))
        }
        None => Err(malformed(format!(
            "{JSON_LENGTH} is no length of a part of the {} bytes of the body",
            body.len()
        ))),
    }
}

/// The headers of a request as they would be without the extension: its media type is one of
/// octets, and many clients leave it out.
pub(super) fn as_json(mut headers: HeaderMap) -> HeaderMap {
    let octets = headers.get(CONTENT_TYPE) == Some(&OCTETS) && headers.contains_key(JSON_LENGTH);
    if octets || !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers
}

/// What the extension reads of the parameters of a request, a tensor or an output; others are for
/// others.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Parameters {
    /// of a request: whether outputs are binary that say nothing themselves
    pub(super) binary_data_output: Option<bool>,
    /// of an output: whether it is binary
    pub(super) binary_data: Option<bool>,
    /// of a tensor: how many bytes of it stand behind the JSON
    pub(super) binary_data_size: Option<u64>,
}

/// Takes the next `size` bytes of `behind`.
pub(super) fn take<'b>(behind: &mut &'b [u8], size: u64, name: &str) -> Result<&'b [u8], Problem> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let Some((taken, rest)) = behind.split_at_checked(size) else {
        let (name, left) = (quoted(name), behind.len());
        return Err(malformed(format!(
            "{name} has a binary_data_size of {size}, and there are {left} bytes"
        )));
    };
    *behind = rest;
    Ok(taken)
}

/// A tensor of `count` values as the list that JSON would have had; NaN, which JSON has not, is null.
pub(super) fn list(
    name: &str,
    datatype: &str,
    bytes: &[u8],
    count: usize,
) -> Result<Box<RawValue>, Problem> {
    let refuse = |why: String| malformed(format!("{} {why}", quoted(name)));
    let texts = match datatype {
        BYTES => strings(bytes, count).map_err(refuse)?,
        _ => numbers(datatype, bytes, count).map_err(refuse)?,
    };
    // Texts, numbers and nulls.
    RawValue::from_string(format!("[{}]", texts.join(",")))
        .map_err(|_| refuse("cannot be read".to_owned()))
}

/// Strings, each behind its length.
fn strings(mut bytes: &[u8], count: usize) -> Result<Vec<String>, String> {
    let (size, mut texts) = (bytes.len(), Vec::new());
    let mut written = 0;
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let text = rest.split_at_checked(length);
        let (text, rest) = text.ok_or("ends within a string")?;
        let text = std::str::from_utf8(text).map_err(|_| "holds what is not UTF-8")?;
        if texts.len() == count {
            return Err(format!("has more values than its shape, which has {count}"));
        }
        // A text is always JSON.
        let text = serde_json::to_string(text).unwrap_or_default();
        written += text.len();
        // Control characters take six times their room.
        if written > 2 * size + 64 {
            return Err("has more control characters than anybody needs".to_owned());
        }
        texts.push(text);
        bytes = rest;
    }
    match (bytes.is_empty(), texts.len()) {
        (true, have) if have == count => Ok(texts),
        (true, have) => Err(format!("has {have} values, and its shape {count}")),
        (false, _) => Err("ends within the length of a string".to_owned()),
    }
}

/// Numbers, one beside the other.
fn numbers(datatype: &str, bytes: &[u8], count: usize) -> Result<Vec<String>, String> {
    fn each<const N: usize>(
        bytes: &[u8],
        count: usize,
        text: impl Fn([u8; N]) -> Option<String>,
    ) -> Result<Vec<String>, String> {
        let (values, rest) = bytes.as_chunks::<N>();
        if values.len() != count || !rest.is_empty() {
            let have = bytes.len();
            return Err(format!("has {have} bytes, and its shape {count} values of {N}"));
        }
        let texts: Option<Vec<String>> = values.iter().map(|value| text(*value)).collect();
        texts.ok_or_else(|| "holds an infinite number".to_owned())
    }
    fn float(number: f64) -> Option<String> {
        if number.is_nan() {
            return Some("null".to_owned());
        }
        // With a fraction or an exponent, so that it is read back to the last bit.
        number.is_finite().then(|| format!("{number:?}"))
    }
    match datatype {
        "INT8" => each(bytes, count, |v| Some(i8::from_le_bytes(v).to_string())),
        "INT16" => each(bytes, count, |v| Some(i16::from_le_bytes(v).to_string())),
        "INT32" => each(bytes, count, |v| Some(i32::from_le_bytes(v).to_string())),
        INT64 => each(bytes, count, |v| Some(i64::from_le_bytes(v).to_string())),
        "UINT8" => each(bytes, count, |v| Some(u8::from_le_bytes(v).to_string())),
        "UINT16" => each(bytes, count, |v| Some(u16::from_le_bytes(v).to_string())),
        "UINT32" => each(bytes, count, |v| Some(u32::from_le_bytes(v).to_string())),
        "UINT64" => each(bytes, count, |v| Some(u64::from_le_bytes(v).to_string())),
        "FP32" => each(bytes, count, |v| float(f64::from(f32::from_le_bytes(v)))),
        FP64 => each(bytes, count, |v| float(f64::from_le_bytes(v))),
        _ => Err(format!(
            "has datatype {}, which is not read from bytes here: expected {BYTES}, {INT64} or {FP64}",
            quoted(datatype)
        )),
    }
}

/// The bytes of an output; `None` for what no such tensor can hold.
pub(super) fn bytes(datatype: &str, data: &[Value]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for value in data {
        match datatype {
            INT64 => out.extend(value.as_i64()?.to_le_bytes()),
            FP64 => out.extend(value.as_f64()?.to_le_bytes()),
            _ => {
                let text = value.as_str()?;
                out.extend(u32::try_from(text.len()).ok()?.to_le_bytes());
                out.extend(text.as_bytes());
            }
        }
    }
    Some(out)
}

/// An answer with something behind its JSON.
pub(super) fn answer(json: Vec<u8>, behind: &[u8]) -> Response {
    let length = HeaderValue::from(json.len());
    let body = [&json, behind].concat();
    let whole = HeaderValue::from(body.len());
    let headers = [(CONTENT_TYPE, OCTETS), (JSON_LENGTH, length), (CONTENT_LENGTH, whole)];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(datatype: &str, bytes: &[u8], count: usize) -> Result<String, String> {
        let list = list("x", datatype, bytes, count);
        list.map(|list| list.get().to_owned())
            .map_err(|problem| problem.details()[0].message.clone())
    }

    #[test]
    fn each_datatype_is_read() {
        for (datatype, bytes, list) in [
            ("INT8", &[0xff, 2][..], "[-1,2]"),
            ("UINT8", &[0xff, 2], "[255,2]"),
            ("INT16", &[0xff, 0xff, 2, 0], "[-1,2]"),
            ("UINT16", &[0xff, 0xff, 2, 0], "[65535,2]"),
            ("INT32", &[[0xff; 4], [2, 0, 0, 0]].concat(), "[-1,2]"),
            ("UINT32", &[[0xff; 4], [2, 0, 0, 0]].concat(), "[4294967295,2]"),
            ("INT64", &[(-1_i64).to_le_bytes(), 2_i64.to_le_bytes()].concat(), "[-1,2]"),
            ("UINT64", &[[0xff; 8], 2_u64.to_le_bytes()].concat(), "[18446744073709551615,2]"),
            ("FP32", &[0.5_f32.to_le_bytes(), f32::NAN.to_le_bytes()].concat(), "[0.5,null]"),
            ("FP64", &[70.35_f64.to_le_bytes(), 1e300_f64.to_le_bytes()].concat(), "[70.35,1e300]"),
            ("BYTES", b"\x02\0\0\0No\x03\0\0\0a\"\n", r#"["No","a\"\n"]"#),
        ] {
            assert_eq!(read(datatype, bytes, 2).as_deref(), Ok(list), "{datatype}");
            assert!(read(datatype, bytes, 1).is_err(), "{datatype}");
            assert!(read(datatype, bytes, 3).is_err(), "{datatype}");
            assert!(read(datatype, &bytes[1..], 2).is_err(), "{datatype}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let infinite = f64::INFINITY.to_le_bytes();
        for (datatype, bytes, why) in [
            ("FP64", &infinite[..], "infinite"),
            ("FP16", &[0, 0], "FP16"),
            ("BYTES", b"\xff\xff\xff\xffx", "ends within a string"),
            ("BYTES", b"\x01\0\0\0\xff", "not UTF-8"),
            ("BYTES", b"\x01\0\0\0x\x01", "ends within the length"),
            ("BYTES", &[&[200, 0, 0, 0], &[1; 200][..]].concat(), "control characters"),
        ] {
            let told = read(datatype, bytes, 1).unwrap_err();
            assert!(told.contains(why), "{why}: {told}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let values = [Value::from("a"), Value::from("")];
        let written = bytes(BYTES, &values).unwrap();
        assert_eq!(read(BYTES, &written, 2).unwrap(), r#"["a",""]"#);
        assert_eq!(bytes(FP64, &[Value::Null]), None);
        let mut rest = &written[..];
        assert_eq!(take(&mut rest, 5, "x").unwrap().len(), 5);
        assert!(take(&mut rest, 5, "x").is_err());
    }
}
