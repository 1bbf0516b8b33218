//! Elements that the reports of all fits share.

const COLOURS: [&str; 8] = ["#2a6f97", "#d1495b", "#edae49", "#00798c", "#6a4c93", "#8d6a3b", "#5c946e", "#333333"];

/// The colour of curve `number`.
pub(crate) fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}
