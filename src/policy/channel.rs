//! Channel names taken apart (client-protocol.md 5.1, tokens.md 8.3). Pure: knows no namespace and no user.

use super::config::ChannelConfig;

/// The marks that give a name its parts. An empty mark switches its feature off.
#[derive(Clone, Debug)]
pub struct Naming {
    private_prefix: String,
    namespace_boundary: String,
    user_boundary: String,
    user_separator: String,
}

/// Parts of a channel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// The whole name.
    pub full: &'a str,
    /// Needs a token.
    pub private: bool,
    /// Text before the first boundary; `None` without a boundary.
    pub namespace: Option<&'a str>,
    /// Text after the first boundary, or after the private prefix.
    pub rest: &'a str,
}

impl From<&ChannelConfig> for Naming {
    fn from(config: &ChannelConfig) -> Self {
        Self {
            private_prefix: config.private_prefix.clone(),
            namespace_boundary: config.namespace_boundary.clone(),
            user_boundary: config.user_boundary.clone(),
            user_separator: config.user_separator.clone(),
        }
    }
}

impl Naming {
    /// Takes a name apart.
    #[must_use]
    pub fn parse<'a>(&self, full: &'a str) -> Name<'a> {
        let stripped = mark(&self.private_prefix).and_then(|prefix| full.strip_prefix(prefix));
        let public = stripped.unwrap_or(full);
        let split = mark(&self.namespace_boundary).and_then(|boundary| public.split_once(boundary));
        Name {
            full,
            private: stripped.is_some(),
            namespace: split.map(|(namespace, _)| namespace),
            rest: split.map_or(public, |(_, rest)| rest),
        }
    }

    /// The user list of a name, which is behind the last boundary; `None` without a boundary.
    #[must_use]
    pub fn users<'a>(&self, full: &'a str) -> Option<&'a str> {
        let (_, users) = full.rsplit_once(mark(&self.user_boundary)?)?;
        Some(users)
    }

    /// True when a list names this user. The empty user is never named.
    #[must_use]
    pub fn lists(&self, users: &str, user: &str) -> bool {
        if user.is_empty() {
            return false;
        }
        match mark(&self.user_separator) {
            Some(separator) => users.split(separator).any(|listed| listed == user),
            None => users == user,
        }
    }

    /// Name of the channel that belongs to one user.
    #[must_use]
    pub fn personal(&self, namespace: &str, user: &str) -> String {
        let boundary = &self.user_boundary;
        if namespace.is_empty() {
            format!("{boundary}{user}")
        } else {
            format!("{namespace}{}{boundary}{user}", self.namespace_boundary)
        }
    }
}

fn mark(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Config;

    fn naming() -> Naming {
        Naming::from(&Config::default().channel)
    }

    #[test]
    fn names_have_the_parts_of_the_table() {
        let naming = naming();
        let parts = |name| {
            let Name {
                private,
                namespace,
                rest,
                ..
            } = naming.parse(name);
            (private, namespace, rest, naming.users(name))
        };
        assert_eq!(parts("news"), (false, None, "news", None));
        assert_eq!(parts("chat:room1"), (false, Some("chat"), "room1", None));
        assert_eq!(parts("$chat:room1"), (true, Some("chat"), "room1", None));
        assert_eq!(
            parts("dialog#42,43"),
            (false, None, "dialog#42,43", Some("42,43"))
        );
        assert_eq!(parts("a:b:c"), (false, Some("a"), "b:c", None));
        assert_eq!(parts("#42"), (false, None, "#42", Some("42")));
        assert_eq!(parts(":a"), (false, Some(""), "a", None));
        assert_eq!(parts("$$a"), (true, None, "$a", None));
        assert_eq!(parts("a#1#2"), (false, None, "a#1#2", Some("2")));
        assert_eq!(parts("a#"), (false, None, "a#", Some("")));
    }

    #[test]
    fn lists_name_whole_users_and_never_nobody() {
        let naming = naming();
        assert!(naming.lists("1,2", "2"));
        assert!(!naming.lists("1,22", "2"));
        assert!(!naming.lists("", ""));
        assert!(!naming.lists("1,", ""));
    }

    #[test]
    fn an_empty_mark_switches_its_feature_off() {
        let mut config = Config::default().channel;
        config.private_prefix.clear();
        config.namespace_boundary.clear();
        config.user_boundary.clear();
        config.user_separator.clear();
        let naming = Naming::from(&config);
        let name = naming.parse("$a:b#1");
        assert_eq!(
            (name.private, name.namespace, name.rest),
            (false, None, "$a:b#1")
        );
        assert_eq!(naming.users("$a:b#1"), None);
        assert!(naming.lists("1,2", "1,2"));
        assert!(!naming.lists("1,2", "1"));
    }

    #[test]
    fn marks_may_be_longer_than_a_character() {
        let mut config = Config::default().channel;
        config.namespace_boundary = "::".to_owned();
        config.user_boundary = "//".to_owned();
        let naming = Naming::from(&config);
        assert_eq!(naming.parse("a:b::c").namespace, Some("a:b"));
        assert_eq!(naming.users("a//1/2//3"), Some("3"));
        assert_eq!(naming.personal("p", "7"), "p:://7");
        assert_eq!(naming.personal("", "7"), "//7");
    }

    proptest! {
        #[test]
        fn parts_put_together_are_the_name(name in "\\PC{0,40}|[$:#,a-c]{0,12}") {
            let naming = naming();
            let parts = naming.parse(&name);
            let prefix = if parts.private { "$" } else { "" };
            let whole = match parts.namespace {
                Some(namespace) => format!("{prefix}{namespace}:{}", parts.rest),
                None => format!("{prefix}{}", parts.rest),
            };
            prop_assert_eq!(whole, name.clone());
            if let Some(namespace) = parts.namespace {
                prop_assert!(!namespace.contains(':'));
            }
            if let Some(users) = naming.users(&name) {
                prop_assert!(!users.contains('#'));
                prop_assert!(!naming.lists(users, ""));
            }
        }

        #[test]
        fn the_personal_channel_names_its_user_only(user in "[a-z0-9]{1,8}", other in "[a-z0-9]{1,8}") {
            let naming = naming();
            let channel = naming.personal("ns", &user);
            let users = naming.users(&channel).unwrap();
            prop_assert!(naming.lists(users, &user));
            prop_assert_eq!(naming.lists(users, &other), user == other);
            prop_assert_eq!(naming.parse(&channel).namespace, Some("ns"));
        }
    }
}
