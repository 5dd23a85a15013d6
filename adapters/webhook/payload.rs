//! What is posted.

use serde::Serialize;
use uuid::Uuid;

use super::Shape;
use crate::Timestamp;
use crate::drift::Severity;
use crate::ledger::AlertEvent;
use crate::lifecycle::AlertNotice;
use crate::registry::{ModelName, VersionId};

/// Version of [`Shape::Json`].
const VERSION: u32 = 1;

/// Longest message in a chat, in characters.
const CHAT_CHARS: usize = 2_000;

#[derive(Debug, Serialize)]
struct Json<'a> {
    version: u32,
    source: &'static str,
    event: AlertEvent,
    dedup_key: String,
    alert_id: Uuid,
    model: &'a ModelName,
    model_version: VersionId,
    key: &'a str,
    severity: Severity,
    message: &'a str,
    features: &'a [String],
    drift_run: Option<Uuid>,
    opened_at: Timestamp,
    resolved_at: Option<Timestamp>,
    acknowledged_at: Option<Timestamp>,
    action_taken: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Slack {
    text: String,
}

/// The body of a request.
pub(super) fn of(notice: &AlertNotice, shape: Shape) -> String {
    let alert = &notice.alert;
    let body = match shape {
        Shape::Json => serde_json::to_string(&Json {
            version: VERSION,
            source: "pmmds",
            event: notice.event,
            dedup_key: notice.dedup_key(),
            alert_id: alert.id,
            model: &alert.model,
            model_version: alert.version,
            key: &alert.key,
            severity: alert.severity,
            message: &alert.message,
            features: &alert.features,
            drift_run: alert.drift_run,
            opened_at: alert.opened_at,
            resolved_at: alert.resolved_at,
            acknowledged_at: alert.acknowledged_at,
            action_taken: alert.action_taken.as_deref(),
        }),
        Shape::Slack => serde_json::to_string(&Slack { text: chat(notice) }),
    };
    // Texts and times: there is nothing that JSON could refuse.
    body.unwrap_or_default()
}

/// The lines of a chat.
fn chat(notice: &AlertNotice) -> String {
    let alert = &notice.alert;
    let sign = match (notice.event, alert.severity) {
        (AlertEvent::Resolved, _) => ":white_check_mark:",
        (_, Severity::Major) => ":rotating_light:",
        _ => ":warning:",
    };
    let what = notice.event.as_str();
    let message = plain(&alert.message);
    let mut lines = format!(
        "{sign} *{} v{}*: {} alert {what} ({})\n{message}\nopened {}",
        plain(alert.model.as_str()),
        alert.version,
        plain(&alert.key),
        alert.severity.word(),
        alert.opened_at,
    );
    if let Some(at) = alert.resolved_at {
        lines.push_str(&format!(", over {at}"));
    }
    lines.push_str(&format!(" ({})", alert.id));
    lines
}

/// Text that a chat shows as it is: without its marks for links and mentions, which traffic could
/// bring along in a category.
fn plain(text: &str) -> String {
    let text: String = if text.chars().count() > CHAT_CHARS {
        text.chars().take(CHAT_CHARS).chain("...".chars()).collect()
    } else {
        text.to_owned()
    };
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_chat_mentions_anybody() {
        assert_eq!(plain("<!channel> & <@U1|x>"), "&lt;!channel&gt; &amp; &lt;@U1|x&gt;");
        let long = plain(&"é".repeat(5_000));
        assert!(long.ends_with("é...") && long.chars().count() == CHAT_CHARS + 3);
    }
}
