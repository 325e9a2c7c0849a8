//! What the state remembers of a session, and how it comes to remember nothing: titles and digests are traces, too.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::to_raw_value;

use crate::reconcile::manifest::SessionId;
use crate::state::State;

/// Takes everything of these sessions out, but for who is still to be told.
pub(super) fn forget(state: &mut State, sessions: &BTreeSet<SessionId>) {
    for replica in state.replicas.values_mut().map(Arc::make_mut) {
        let held = replica.files.iter().map(|(path, _)| path.session).chain(replica.seen.keys().copied());
        let due: Vec<SessionId> = held.filter(|held| sessions.contains(held)).collect();
        replica.due.extend(due);
        replica.files.retain(|(path, _)| !sessions.contains(&path.session));
        replica.seen.retain(|session, _| !sessions.contains(session));
        replica.forgotten.retain(|session| !sessions.contains(session));
    }
    for visit in state.visits.values_mut() {
        visit.open.retain(|session| !sessions.contains(session));
        visit.quiet.live.retain(|session, _| !sessions.contains(session));
        visit.shared.values_mut().for_each(|shared| shared.refused.retain(|session, _| !sessions.contains(session)));
    }
    state.rules.retain(|session, _| !sessions.contains(session));
    // What cannot be read as a report goes as a whole.
    state.last_pass = state.last_pass.take().and_then(|report| to_raw_value(&cleaned(serde_json::from_str(report.get()).ok()?, sessions)).ok());
}

fn cleaned(mut report: Value, sessions: &BTreeSet<SessionId>) -> Value {
    let ids: Vec<String> = sessions.iter().map(ToString::to_string).collect();
    without(&mut report, &ids);
    // What is no list and still names one, such as the reason of a failure, goes as a whole.
    if let Value::Object(fields) = &mut report {
        fields.values_mut().filter(|value| names(value, &ids)).for_each(|value| *value = Value::Null);
    }
    report
}

/// Takes out of every list what names one of these, the innermost first.
fn without(value: &mut Value, ids: &[String]) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(|item| without(item, ids));
            items.retain(|item| !names(item, ids));
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| without(field, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn names(value: &Value, ids: &[String]) -> bool {
    let said = |text: &str| ids.iter().any(|id| text.contains(id.as_str()));
    match value {
        Value::String(text) => said(text),
        Value::Array(items) => items.iter().any(|item| names(item, ids)),
        Value::Object(fields) => fields.iter().any(|(name, field)| said(name) || names(field, ids)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_names_a_forgotten_session_leaves_the_report_and_the_rest_stays() {
        let (gone, stays) = ("6f869d7b-ce51-4e00-8a05-674dde6aa368", "7f869d7b-ce51-4e00-8a05-674dde6aa368");
        let mut state = State::default();
        let report = json!({
            "actions": [{"session": gone, "title": "secret"}, {"session": stays, "title": "plain"}],
            "conflicts": [{"session": stays, "fork": gone, "title": "secret"}],
            "visits": [{"name": "box", "skipped": [{"name": format!("-p/{gone}.jsonl")}, {"name": "x"}], "notes": []}],
            "disk": {"message": format!("cannot write {gone}")}, "listing": null,
        });
        state.last_pass = to_raw_value(&report).ok();
        forget(&mut state, &BTreeSet::from([gone.parse().unwrap()]));
        let expected = json!({
            "actions": [{"session": stays, "title": "plain"}], "conflicts": [],
            "visits": [{"name": "box", "skipped": [{"name": "x"}], "notes": []}], "disk": null, "listing": null,
        });
        assert_eq!(serde_json::from_str::<Value>(state.last_pass.unwrap().get()).unwrap(), expected);
    }
}
