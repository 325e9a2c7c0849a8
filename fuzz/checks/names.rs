//! Every kind of name that somebody else may choose.

use claude_session_sync::codespace::name::CodespaceName;
use claude_session_sync::codespace::{ssh, wire};
use claude_session_sync::reconcile::manifest::{ProjectName, SessionId, SidePath, StorePath, is_known_neighbour};
use claude_session_sync::reconcile::project::{RepositoryId, encode};

/// A name that was taken prints as it was read, or as it is read again, and cannot lead anywhere else.
pub(super) fn all(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(path) = text.parse::<StorePath>() {
        assert_eq!(path.to_string(), text);
        assert!(text.len() <= 1024 && text.split('/').skip(1).all(is_component), "{text}");
    }
    if let Ok(path) = text.parse::<SidePath>() {
        assert!(path.as_str() == text && text.split('/').count() <= 6 && text.split('/').all(is_component), "{text}");
    }
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(project) = text.parse::<ProjectName>() {
        assert!(project.as_str() == text && !text.contains(['/', '.']), "{text}");
    }
    if let Ok(name) = text.parse::<wire::VaultName>() {
        assert!(name.as_str() == text && is_component(text) && name.session().is_some(), "{text}");
    }
    if let Ok(token) = text.parse::<wire::Token>() {
        assert!(token.as_str() == text && !text.contains([' ', '\n']), "{text:?}");
        let _ = token.stamp();
    }
    if let Ok(name) = text.parse::<CodespaceName>() {
        assert!(name.as_str() == text && !text.starts_with('-') && !text.contains(['/', '.', ' ']), "{text}");
    }
    if let Ok(host) = text.parse::<ssh::Host>() {
        assert!(host.to_string() == text && !text.starts_with('-') && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    }
    for repository in [text.parse::<RepositoryId>().ok(), RepositoryId::from_remote(text)].into_iter().flatten() {
        let shown = repository.to_string();
        assert_eq!(shown.parse(), Ok(repository), "{shown}");
        assert!(shown.split('/').all(|part| !part.is_empty() && !part.starts_with('-') && part != ".."), "{shown}");
        assert!(shown.bytes().all(|byte| byte.is_ascii_graphic() && !b"$`'\"\\;&|<>()".contains(&byte)), "{shown}");
    }
    let _ = is_known_neighbour(text);
    let project = encode(text);
    assert!(!project.contains(['/', '.', '\0', '\n']), "{project:?}");
    assert!(text.is_empty() || project.parse::<ProjectName>().is_ok(), "{project:?}");
}

/// Below a directory it stays there, and no program takes it for an option.
fn is_component(part: &str) -> bool {
    !part.is_empty() && !part.starts_with(['.', '-']) && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
