//! `/proc/loadavg` (proc(5)): tasks that run or wait, averaged over one, five and fifteen minutes.

/// One reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LoadAvg {
    /// Over one minute.
    pub one: f64,
    /// Over five minutes.
    pub five: f64,
    /// Over fifteen minutes.
    pub fifteen: f64,
    /// Tasks that could run at this moment.
    pub runnable: u64,
    /// Tasks that exist.
    pub tasks: u64,
}

/// Parses the file; `None` where one of the five numbers is missing or not finite.
pub fn parse(text: &str) -> Option<LoadAvg> {
    let mut words = text.split_whitespace();
    let mut average = || words.next()?.parse::<f64>().ok().filter(|n| n.is_finite());
    let (one, five, fifteen) = (average()?, average()?, average()?);
    let (runnable, tasks) = words.next()?.split_once('/')?;
    Some(LoadAvg {
        one,
        five,
        fifteen,
        runnable: runnable.parse().ok()?,
        tasks: tasks.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_numbers() {
        assert_eq!(
            parse("3.53 3.09 3.10 3/108 29436\n"),
            Some(LoadAvg {
                one: 3.53,
                five: 3.09,
                fifteen: 3.1,
                runnable: 3,
                tasks: 108
            })
        );
        assert_eq!(parse("1 2 3"), None);
        assert_eq!(parse("nan 0 0 1/1 1"), None);
    }
}
