//! A solution's steps: paragraphs, or lines if there are no paragraphs.

/// Splits a solution into steps: at empty lines, or, in a text without empty lines, at newlines. Displayed formulas
/// are not split, and stay with the line before them.
///
/// ```
/// let steps = mathverify::split_steps("First, 2 + 3 = 5.\n\\[\n5 \\cdot 2 = 10\n\\]\nSo 10.");
/// assert_eq!(steps.len(), 2);
/// assert_eq!(steps[1], "So 10.");
/// ```
#[must_use]
pub fn split(solution: &str) -> Vec<String> {
    let paragraphs = solution.contains("\n\n");
    let mut steps: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut open = 0_i64;
    for line in solution.lines() {
        let empty = line.trim().is_empty();
        let count = |mark: &str| i64::try_from(line.matches(mark).count()).unwrap_or(0);
        let starts_display = line.trim_start().starts_with("\\[");
        let ends = open <= 0 && if paragraphs { empty } else { !starts_display };
        if ends && !current.trim().is_empty() {
            steps.push(std::mem::take(&mut current).trim().to_owned());
        }
        if !empty {
            current.push_str(line);
            current.push('\n');
        }
        open += count("\\[") + count("\\begin{") - count("\\]") - count("\\end{");
    }
    if !current.trim().is_empty() {
        steps.push(current.trim().to_owned());
    }
    steps
}
