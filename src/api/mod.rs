//! Server API: typed requests, node calls, typed responses.
