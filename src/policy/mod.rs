//! The standard [`crate::hooks::Hooks`]: namespaces, permissions, tokens.
