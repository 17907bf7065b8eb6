//! Logs; initialised once.
