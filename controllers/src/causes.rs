//! An error with its causes on one line.

use std::error::Error;

/// `error` and its causes, separated by colons. A cause that its parent already prints is left out.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: middle")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("middle")]
    struct Middle(#[source] std::num::ParseIntError);

    #[test]
    fn a_cause_that_is_said_already_is_not_repeated() {
        let error = Outer(Middle("x".parse::<u8>().unwrap_err()));
        assert_eq!(
            with_causes(&error),
            "outer: middle: invalid digit found in string"
        );
    }
}
