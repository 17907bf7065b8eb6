//! The table a run prints.

use std::{fmt::Write as _, time::Duration};

use super::checker::Verdict;

/// One fault and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What was broken.
    pub(crate) fault: &'static str,
    /// How often: messages, connections or processes.
    pub(crate) injected: u64,
    /// What the judge says.
    pub(crate) verdict: Verdict,
    /// Time until everything was right again.
    pub(crate) repair: Option<Duration>,
}

/// All rows, as text.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| fault | injected | accepted | refused | lost | doubled | reordered | declared | unsubscribed | closed | repair time |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let Verdict {
            lost,
            doubled,
            reordered,
            declared,
            accepted,
            failed,
            told,
            closed,
            ..
        } = row.verdict;
        let repair = row
            .repair
            .map_or_else(|| "-".to_owned(), |time| format!("{} ms", time.as_millis()));
        let (fault, injected) = (row.fault, row.injected);
        let line = writeln!(
            text,
            "| {fault} | {injected} | {accepted} | {failed} | {lost} | {doubled} | {reordered} | {declared} | {told} | {closed} | {repair} |"
        );
        line.unwrap();
    }
    text
}

#[test]
fn a_row_is_a_line() {
    let row = Row {
        fault: "cable",
        injected: 3,
        verdict: Verdict {
            lost: 1,
            accepted: 9,
            ..Verdict::default()
        },
        repair: Some(Duration::from_millis(150)),
    };
    let text = table(&[row]);
    assert_eq!(
        text.lines().last(),
        Some("| cable | 3 | 9 | 0 | 1 | 0 | 0 | 0 | 0 | 0 | 150 ms |")
    );
}
