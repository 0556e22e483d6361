//! Requests in each dialect.
