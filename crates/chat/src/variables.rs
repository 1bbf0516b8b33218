//! Variables of a chat template from the command line.

use chrono::NaiveDate;
use serde_json::{Map, Value};

use crate::template::ChatTemplate;

/// The name that sets the date of the template's function `strftime_now`; it is not a variable of the template.
pub const NOW: &str = "strftime_now";
const FORM: &str = "%Y-%m-%d";

/// Reads `NAME=VALUE`. A value that is JSON is parsed as JSON; every other value is a string. The value of
/// `strftime_now` is a date such as `2024-07-26`.
///
/// # Errors
/// When a text is not NAME=VALUE, or a date is invalid.
pub fn template_variables(texts: &[String]) -> Result<Map<String, Value>, String> {
    let mut parsed = Map::new();
    for text in texts {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("--template-var {text}: write NAME=VALUE"))?;
        if name.is_empty() {
            return Err(format!("--template-var {text}: the name is empty"));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        if name == NOW && day(&value).is_none() {
            return Err(format!("--template-var {text}: write a day such as {NOW}=2024-07-26"));
        }
        parsed.insert(name.to_owned(), value);
    }
    Ok(parsed)
}

fn day(value: &Value) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(value.as_str()?, FORM).ok()
}

impl ChatTemplate {
    /// Sets variables for every rendering (`date_string`, `enable_thinking`, ...); those of [`crate::RenderOptions`]
    /// override them. `strftime_now` sets the date of the template's function of that name.
    pub fn set_variables(&mut self, mut variables: Map<String, Value>) {
        if let Some(day) = variables.remove(NOW).as_ref().and_then(day) {
            self.set_now(day.and_time(chrono::NaiveTime::MIN));
        }
        self.keep_variables(variables);
    }

    /// The variables that the template does not read, which therefore have no effect.
    #[must_use]
    pub fn unread<'v>(&self, variables: &'v Map<String, Value>) -> Vec<&'v str> {
        let reads = |name: &str| if name == NOW { self.reads_date() } else { self.reads(name) };
        variables.keys().map(String::as_str).filter(|name| !reads(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RenderOptions;
    use serde_json::json;

    fn parsed(texts: &[&str]) -> Result<Map<String, Value>, String> {
        template_variables(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn variables_are_json_or_text() {
        let expected = json!({"a": 1, "b": true, "c": "26 Jul 2024", "d": "x=y", "e": ""});
        let given = parsed(&["a=1", "b=true", "c=26 Jul 2024", "d=x=y", "e="]).unwrap();
        assert_eq!(Value::Object(given), expected);
        assert!(parsed(&["a"]).unwrap_err().contains("write NAME=VALUE"));
        assert!(parsed(&["=1"]).unwrap_err().contains("the name is empty"));
        assert!(parsed(&["strftime_now=26 Jul 2024"]).unwrap_err().contains("write a day"));
    }

    #[test]
    fn a_day_and_variables_reach_the_template() {
        let source = "{{ strftime_now('%d %b %Y') }}|{{ date_string }}";
        let mut template = ChatTemplate::new(source).unwrap();
        let given = parsed(&["strftime_now=2024-07-26", "date_string=today", "date=x"]).unwrap();
        assert_eq!(template.unread(&given), ["date"]);
        template.set_variables(given);
        let render = |options: &RenderOptions| template.render_with(&Default::default(), &[], options).unwrap();
        assert_eq!(render(&RenderOptions::default()), "26 Jul 2024|today");
        let variables = parsed(&["date_string=own"]).unwrap();
        assert_eq!(render(&RenderOptions { variables, ..RenderOptions::default() }), "26 Jul 2024|own");
    }
}
