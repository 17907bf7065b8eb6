//! The path table of a listener (server-api.md 1.2): which handler answers which path, and what happens to all others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use axum::{Router, body::Body, response::Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS},
};

/// Two handlers want the same path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("path {path} is used by {first} and {second}")]
pub struct DuplicatePath {
    /// The path.
    pub path: String,
    /// Who had it first.
    pub first: &'static str,
    /// Who wants it, too.
    pub second: &'static str,
}

/// A handler and the pattern it was found by.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) pattern: Arc<str>,
    pub(super) router: Router,
}

#[derive(Clone, Debug)]
struct Entry {
    owner: &'static str,
    found: Found,
}

/// What lies under a path, and is it asked for by that path or below it?
#[derive(Debug)]
pub(super) enum Lookup<'a> {
    Handler(&'a Found),
    /// A tree asked for without its slash.
    Redirect(String),
    Nothing,
}

/// Paths of one listener and their handlers.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    exact: HashMap<String, Entry>,
    trees: BTreeMap<String, Entry>,
    /// Names of the handlers, for the log line of the listener.
    names: Vec<&'static str>,
}

impl Paths {
    /// Gives a path to a handler. Trailing slashes do not count; what is left of `/` then takes every path nobody else has.
    ///
    /// # Errors
    /// When the path is taken.
    pub fn exact(
        &mut self,
        owner: &'static str,
        path: &str,
        router: Router,
    ) -> Result<(), DuplicatePath> {
        match path.trim_end_matches('/') {
            "" => self.insert_tree(owner, "/", router),
            path => {
                self.free(owner, path)?;
                self.name(owner);
                self.exact
                    .insert(path.to_owned(), Entry::new(owner, path, router));
                Ok(())
            }
        }
    }

    /// Gives all paths below a prefix to a handler.
    ///
    /// # Errors
    /// When the prefix is taken.
    pub fn tree(
        &mut self,
        owner: &'static str,
        prefix: &str,
        router: Router,
    ) -> Result<(), DuplicatePath> {
        let prefix = prefix.trim_end_matches('/');
        self.free(owner, prefix)?;
        self.insert_tree(owner, &format!("{prefix}/"), router)
    }

    /// Gives a prefix, with and without its slash, and all paths below it to a handler.
    ///
    /// # Errors
    /// When the prefix is taken.
    pub fn whole(
        &mut self,
        owner: &'static str,
        prefix: &str,
        router: Router,
    ) -> Result<(), DuplicatePath> {
        self.tree(owner, prefix, router.clone())?;
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() {
            self.exact
                .insert(prefix.to_owned(), Entry::new(owner, prefix, router));
        }
        Ok(())
    }

    /// True when nothing is on this listener, so that it need not be opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Names of the handlers in the order they came.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Changes every handler, such as by a layer around it.
    pub fn each(&mut self, change: impl Fn(Router) -> Router) {
        for entry in self.exact.values_mut().chain(self.trees.values_mut()) {
            entry.found.router = change(std::mem::take(&mut entry.found.router));
        }
    }

    fn insert_tree(
        &mut self,
        owner: &'static str,
        prefix: &str,
        router: Router,
    ) -> Result<(), DuplicatePath> {
        self.free(owner, prefix)?;
        self.name(owner);
        self.trees
            .insert(prefix.to_owned(), Entry::new(owner, prefix, router));
        Ok(())
    }

    fn free(&self, second: &'static str, path: &str) -> Result<(), DuplicatePath> {
        let taken = self.exact.get(path).or_else(|| self.trees.get(path));
        let taken = taken.or_else(|| {
            self.trees
                .get(&format!("{path}/"))
                .filter(|_| !path.is_empty())
        });
        match taken {
            None => Ok(()),
            Some(entry) => Err(DuplicatePath {
                path: path.to_owned(),
                first: entry.owner,
                second,
            }),
        }
    }

    fn name(&mut self, owner: &'static str) {
        if !self.names.contains(&owner) {
            self.names.push(owner);
        }
    }

    pub(super) fn find(&self, path: &str) -> Lookup<'_> {
        if let Some(entry) = self.exact.get(path) {
            return Lookup::Handler(&entry.found);
        }
        let tree = self
            .trees
            .iter()
            .rev()
            .find(|(prefix, _)| path.starts_with(prefix.as_str()));
        match tree {
            _ if self.trees.contains_key(&format!("{path}/")) => {
                Lookup::Redirect(format!("{path}/"))
            }
            Some((_, entry)) => Lookup::Handler(&entry.found),
            None => Lookup::Nothing,
        }
    }
}

impl Entry {
    fn new(owner: &'static str, pattern: &str, router: Router) -> Self {
        Self {
            owner,
            found: Found {
                pattern: pattern.into(),
                router,
            },
        }
    }
}

/// The answer to a path without handler; the method plays no part.
pub(super) fn not_found() -> Response {
    let mut response = Response::new(Body::from("404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// The answer to a tree without its slash.
pub(super) fn redirect(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    match HeaderValue::try_from(to) {
        Ok(to) => {
            response.headers_mut().insert(LOCATION, to);
            response
        }
        Err(_) => not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(paths: &Paths, path: &str) -> String {
        match paths.find(path) {
            Lookup::Handler(found) => found.pattern.to_string(),
            Lookup::Redirect(to) => format!("-> {to}"),
            Lookup::Nothing => String::new(),
        }
    }

    fn table() -> Paths {
        let mut paths = Paths::default();
        paths
            .exact("websocket", "/connection/websocket", Router::new())
            .unwrap();
        paths.exact("health", "/health//", Router::new()).unwrap();
        paths.exact("api", "/api", Router::new()).unwrap();
        paths.exact("api", "/api/publish", Router::new()).unwrap();
        paths.tree("debug", "/debug/pprof/", Router::new()).unwrap();
        paths
    }

    #[test]
    fn paths_match_exactly() {
        let paths = table();
        for (path, pattern) in [
            ("/connection/websocket", "/connection/websocket"),
            ("/connection/websocket/", ""),
            ("/connection/websocketx", ""),
            ("/health", "/health"),
            ("/api/publish", "/api/publish"),
            ("/api/other", ""),
            ("/debug/pprof", "-> /debug/pprof/"),
            ("/debug/pprof/", "/debug/pprof/"),
            ("/debug/pprof/heap", "/debug/pprof/"),
            ("/debug", ""),
            ("/", ""),
        ] {
            assert_eq!(found(&paths, path), pattern, "{path}");
        }
        assert_eq!(paths.names(), ["websocket", "health", "api", "debug"]);
    }

    #[test]
    fn the_root_takes_what_is_left() {
        let mut paths = table();
        paths.tree("admin", "", Router::new()).unwrap();
        assert_eq!(found(&paths, "/"), "/");
        assert_eq!(found(&paths, "/anything/else"), "/");
        assert_eq!(found(&paths, "/health"), "/health");
        assert_eq!(found(&paths, "/debug/pprof"), "-> /debug/pprof/");
        let error = paths.exact("health", "/", Router::new()).unwrap_err();
        assert_eq!(error.to_string(), "path / is used by admin and health");
    }

    #[test]
    fn a_whole_prefix_needs_no_redirect() {
        let mut paths = table();
        paths.whole("sockjs", "/c/sockjs/", Router::new()).unwrap();
        assert_eq!(found(&paths, "/c/sockjs"), "/c/sockjs");
        assert_eq!(found(&paths, "/c/sockjs/"), "/c/sockjs/");
        assert_eq!(found(&paths, "/c/sockjs/a/b/xhr"), "/c/sockjs/");
        assert_eq!(found(&paths, "/c/sockjsx"), "");
        assert!(paths.whole("x", "/c/sockjs", Router::new()).is_err());
        assert!(paths.whole("x", "/health", Router::new()).is_err());
    }

    #[test]
    fn duplicates_are_refused() {
        let mut paths = table();
        for path in [
            "/health",
            "/health/",
            "/api/publish",
            "/debug/pprof",
            "/debug/pprof/",
        ] {
            assert!(paths.exact("x", path, Router::new()).is_err(), "{path}");
            assert!(paths.tree("x", path, Router::new()).is_err(), "{path}");
        }
    }
}
