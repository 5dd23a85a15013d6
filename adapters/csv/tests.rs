use super::*;

fn read(text: impl AsRef<[u8]>) -> Result<Table, Error> {
    Reader::new().read(text.as_ref())
}

fn refused(text: impl AsRef<[u8]>) -> String {
    let error = read(text).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error.to_string().replace("csv: invalid input: the input: ", "")
}

fn rows(table: &Table) -> Vec<Vec<&str>> {
    let row = |row| table.columns().iter().map(|c| c.cells().nth(row).unwrap()).collect();
    (0..table.rows()).map(row).collect()
}

/// Hands out one byte at a time.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

#[test]
fn the_same_table_in_every_dialect() {
    for text in [
        "id,plan\n1,gold\n2,basic\n",
        "id,plan\n1,gold\n2,basic",
        "id,plan\r\n1,gold\r\n2,basic\r\n",
        "id,plan\r1,gold\r2,basic\r",
        "\u{feff}id,plan\n1,gold\n2,basic\n\n\n",
        "\u{feff}\"id\",\"plan\"\n\n\"1\",\"gold\"\n2, basic \n",
    ] {
        for table in [read(text).unwrap(), Reader::new().read(Slow(text.as_bytes())).unwrap()] {
            assert_eq!(table.columns()[0].name(), "id", "{text:?}");
            assert_eq!(rows(&table), [["1", "gold"], ["2", "basic"]], "{text:?}");
        }
    }
}

#[test]
fn quotes_hold_delimiters_breaks_and_quotes() {
    let table = read("a,b\n\"x,\ny\",\"say \"\"é\"\"\"\n").unwrap();
    assert_eq!(rows(&table), [["x,\ny", "say \"é\""]]);
}

#[test]
fn a_table_may_have_no_rows_but_not_no_header() {
    assert_eq!(read("a,b\n").unwrap().rows(), 0);
    for empty in ["", "\n\n", "\u{feff}"] {
        assert_eq!(refused(empty), "it is empty, without even a header");
    }
}

#[test]
fn names_are_there_and_differ() {
    assert_eq!(
        refused("a,b,a\n"),
        "columns 0 and 2 are both called \"a\" (in the file \"a\" and \"a\")"
    );
    assert!(refused(",a\n0,1\n").starts_with("column 0 has no name: an index"));
    let error = Reader::new().rename(snake_case).read("fooBar,foo_bar\n".as_bytes()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("both called \"foo_bar\" (in the file \"fooBar\" and \"foo_bar\")")
    );
    assert!(refused("1,2.5\n3,4\n").starts_with("the first row is all numbers, beginning with 1:"));
    assert_eq!(read("0,1\n3,4\n").unwrap().rows(), 1);
    assert_eq!(read("2019,region\n3,4\n").unwrap().rows(), 1);
    let error = Reader::new().names(["a", "a"]).read("1,2\n".as_bytes()).unwrap_err();
    assert!(error.to_string().contains("both called"));
    let error = Reader::new().names([""; 0]).read("1,2\n".as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn another_delimiter_is_recognised() {
    for (delimiter, shown) in [(';', "';'"), ('\t', r"'\t'"), ('|', "'|'")] {
        let says = refused(format!("a{delimiter}b\n1{delimiter}2\n"));
        assert!(says.ends_with(&format!(": is the delimiter {shown}?")), "{says}");
    }
    let error = Reader::new().delimiter(b';').read("a,b\n".as_bytes()).unwrap_err();
    assert!(error.to_string().ends_with("the header is one column 'a,b': is the delimiter ','?"));
    for bad in [b'"', b'\n', 0, 200] {
        let error = Reader::new().delimiter(bad).read("a".as_bytes()).unwrap_err();
        assert!(error.to_string().ends_with("cannot be a delimiter"));
    }
}

#[test]
fn ragged_rows_are_counted_and_the_first_ten_named() {
    let says = refused(format!("a,b\n1,2\n{}3\n", "1,2,3\n".repeat(20)));
    assert!(says.starts_with(
        "21 of 22 rows have not 2 cells as the header: row 1 (line 3) has 3, row 2 (line 4) has 3,"
    ));
    assert!(says.ends_with("row 10 (line 12) has 3, ..."), "{says}");

    let text = "a,b\n1,2\n3\n4,5\n6,7\n";
    let with =
        |share| Reader::new().ragged(Ragged::Skip { share }).read_counted("x.csv", text.as_bytes());
    let (table, ragged) = with(0.25).unwrap();
    assert_eq!((table.rows(), ragged.count()), (3, 1));
    assert_eq!(ragged.first().collect::<Vec<_>>(), [1]);
    assert!(with(0.24).is_err());
    assert!(with(f64::NAN).unwrap_err().to_string().contains("not from 0 to 1"));
}

#[test]
fn what_is_not_utf8_is_told_with_its_place() {
    assert_eq!(
        refused(b"name\nok\nJos\xe9\n"),
        "byte 0xe9 at offset 11 (line 3) is not UTF-8: is the file Latin-1 or Windows-1252?"
    );
    assert!(refused(b"name\nJos\xc3").starts_with("byte 0xc3 at offset 8 (line 2) is not UTF-8"));
    assert_eq!(refused(b"\xff\xfea\0"), "it begins like UTF-16, expected UTF-8");
    assert_eq!(refused(b"\xfe\xff\0a"), "it begins like UTF-16, expected UTF-8");
    assert!(
        refused(b"a\0,\0b\0").starts_with("a NUL byte at offset 1 (line 1): is the file UTF-16")
    );
    let slow = Reader::new().read(Slow(b"n\xc3\xa4me\n\xe2\x82\xac\nx\xe2\x82")).unwrap_err();
    assert!(slow.to_string().contains("byte 0xe2 at offset 11 (line 3)"), "{slow}");
}

#[test]
fn what_never_ends_is_cut_off() {
    let open = format!("a,b\n1,\"{}", "x\n".repeat(2_000_000));
    assert_eq!(
        refused(open),
        "the row that begins on line 2 is longer than 1048576 bytes: is a quote left open?"
    );
    let header = "x,".repeat(2_000_000);
    assert!(refused(header).starts_with("the row that begins on line 1 is longer"));
    let columns: Vec<String> = (0..20_000).map(|n| format!("c{n}")).collect();
    assert_eq!(refused(columns.join(",")), "20000 columns, more than 16384");

    let lines = "value\n".bytes().chain("12345678\n".bytes().cycle());
    struct Endless<I>(I);
    impl<I: Iterator<Item = u8>> Read for Endless<I> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(buffer.iter_mut().zip(&mut self.0).map(|(to, from)| *to = from).count())
        }
    }
    let error = Reader::new().memory_limit(100_000).read(Endless(lines)).unwrap_err();
    assert!(
        error.to_string().ends_with("its first 24979 rows take more than 100000 bytes"),
        "{error}"
    );

    let with = |length: usize| {
        let text = format!("a\n{}\n", "x".repeat(length));
        Reader::new().record_limit(100).read(text.as_bytes()).is_ok()
    };
    assert!(with(100));
    assert!(!with((1 << 16) + 102));
}

#[test]
fn nulls_and_space_are_as_asked() {
    let text = "a,b\n ?, x \n-,?\n";
    let table = Reader::new().nulls(["?", "-"]).read(text.as_bytes()).unwrap();
    assert_eq!(rows(&table), [["", "x"], ["", ""]]);
    let table = Reader::new().space(Space::Keep).nulls(["?"]).read(text.as_bytes()).unwrap();
    assert_eq!(rows(&table), [[" ?", " x "], ["-", ""]]);
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let missing = read_table("no/such/file.csv").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(std::error::Error::source(&missing).is_some());
    let folder = read_table(env!("CARGO_MANIFEST_DIR")).unwrap_err();
    assert_eq!(folder.kind(), ErrorKind::InvalidInput);

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let error = Reader::new().read(Broken).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other);
    assert_eq!(error.chain(), "csv: failed: the input: cannot read on: disk on fire");
}
