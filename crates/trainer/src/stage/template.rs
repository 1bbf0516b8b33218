//! Inputs of the chat template beside the conversations: one date for the whole run, and the user's variables.

use anyhow::Context;
use chat::ChatTemplate;
use distributed::World;

use crate::RunFolder;

/// File in the run's folder that holds the date for the examples, so that a run that is resumed on another day gives the same
/// bytes.
const DATE: &str = "template-date.txt";
const FORM: &str = "%Y-%m-%d";

/// Sets the date and the variables of the template. The date is that of the run's first start; it is set only for templates
/// that read it.
///
/// # Errors
/// When a variable is not NAME=VALUE, or when the date file cannot be read or written.
pub(super) fn fix(
    template: &mut ChatTemplate,
    run: &RunFolder,
    variables: &[String],
    dry_run: bool,
    world: &World,
) -> anyhow::Result<()> {
    let variables = chat::template_variables(variables).map_err(anyhow::Error::msg)?;
    for name in template.unread(&variables).into_iter().filter(|_| world.is_first()) {
        eprintln!("warning: --template-var {name}: the chat template does not read it");
    }
    let has_day = variables.contains_key(chat::NOW);
    template.set_variables(variables);
    if has_day || !template.reads_date() {
        return Ok(());
    }
    let path = run.join(DATE);
    if !world.is_first() {
        // The date of the first process, which may be an earlier day.
        std::fs::write(&path, world.share_bytes("date", &[])?)?;
    }
    let date = match std::fs::read_to_string(&path) {
        Ok(text) => chrono::NaiveDate::parse_from_str(text.trim(), FORM)
            .with_context(|| format!("{}: {:?} is not a date such as 2026-11-29", path.display(), text.trim()))?,
        Err(_) => {
            let today = chrono::Local::now().date_naive();
            if !dry_run {
                dataset::write_file(&path, format!("{}\n", today.format(FORM)).as_bytes())?;
            }
            today
        }
    };
    template.set_now(date.and_time(chrono::NaiveTime::MIN));
    if !world.is_first() {
        return Ok(());
    }
    world.share_bytes("date", date.format(FORM).to_string().as_bytes())?;
    println!("The chat template writes the date: {} in this run ({})", date.format(FORM), path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat::RenderOptions;

    #[test]
    fn a_run_keeps_its_date() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path()).unwrap();
        let rendered = |template: &ChatTemplate| {
            template.render_with(&Default::default(), &[], &RenderOptions::default()).unwrap()
        };
        let mut template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}{{ x }}").unwrap();
        fix(&mut template, &run, &[], true, &World::single()).unwrap();
        assert!(!run.join(DATE).exists(), "a dry run leaves nothing");
        fix(&mut template, &run, &[], false, &World::single()).unwrap();
        let today = rendered(&template);
        let mut again = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}{{ x }}").unwrap();
        fix(&mut again, &run, &[], false, &World::single()).unwrap();
        assert_eq!(rendered(&again), today);
        std::fs::write(run.join(DATE), "2024-07-26\n").unwrap();
        fix(&mut again, &run, &["x=!".to_owned()], false, &World::single()).unwrap();
        assert_eq!(rendered(&again), "26 Jul 2024!");
        let day = ["strftime_now=2020-02-02".to_owned(), "x=?".to_owned()];
        fix(&mut again, &run, &day, false, &World::single()).unwrap();
        assert_eq!(rendered(&again), "02 Feb 2020?", "the day that was asked for");
        std::fs::write(run.join(DATE), "yesterday").unwrap();
        assert!(
            format!("{:#}", fix(&mut again, &run, &[], false, &World::single()).unwrap_err()).contains("is not a date")
        );
    }
}
