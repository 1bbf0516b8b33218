//! Texts per second on one thread, and the accuracy of the model, on the declarations of human rights.
//!
//!     cargo run -p language-id --example rate -- ../shared/data/udhr/udhr.jsonl.gz [--fetch]
//!
//! `--fetch` fetches the model first.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::time::Instant;

use anyhow::Context as _;
use flate2::read::GzDecoder;
use language_id::LanguageId;

/// ISO 639-1 codes among the model's labels, with the ISO 639-3 code of the declarations.
const CODES: &str = "af:afr am:amh an:arg ar:arb as:asm av:ava az:azj ba:bak be:bel bg:bul bn:ben bo:bod br:bre bs:bos ca:cat ce:che \
    co:cos cs:ces cv:chv cy:cym da:dan de:deu dv:div el:ell en:eng eo:epo es:spa et:ekk eu:eus fa:pes fi:fin fr:fra fy:fry ga:gle \
    gd:gla gl:glg gn:gug gu:guj gv:glv he:heb hi:hin hr:hrv ht:hat hu:hun hy:hye ia:ina id:ind io:ido is:isl it:ita ja:jpn jv:jav \
    ka:kat kk:kaz km:khm kn:kan ko:kor ku:kmr kv:kpv kw:cor ky:kir la:lat lb:ltz li:lim lo:lao lt:lit lv:lvs mg:plt mk:mkd ml:mal \
    mn:khk mr:mar ms:zlm mt:mlt my:mya ne:npi nl:nld nn:nno no:nob oc:oci or:ory os:oss pa:pan pl:pol ps:pbu pt:por qu:quz rm:roh \
    ro:ron ru:rus sa:san sc:src sd:snd si:sin sk:slk sl:slv so:som sq:als sr:srp su:sun sv:swe sw:swh ta:tam te:tel tg:tgk th:tha \
    tk:tuk tl:tgl tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzn vi:vie wa:wln yi:ydd yo:yor zh:cmn";

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: rate UDHR.jsonl.gz [--fetch]")?;
    if std::env::args().any(|arg| arg == "--fetch") {
        eprintln!("{}", language_id::fetch()?.display());
    }
    let languages = LanguageId::load()?;
    let mut texts = Vec::new();
    for line in BufReader::new(GzDecoder::new(std::fs::File::open(path)?)).lines() {
        let record: serde_json::Value = serde_json::from_str(&line?)?;
        let words: Vec<&str> = record["text"].as_str().context("a record without text")?.split_whitespace().collect();
        let code = record["code"].as_str().unwrap_or_default();
        let code = code.split('_').next().unwrap_or(code).to_owned();
        let chars: Vec<char> = words.join(" ").chars().collect();
        texts.extend(
            (1..5)
                .filter_map(|k| chars.get(160 * k..160 * (k + 1)))
                .map(|piece| (code.clone(), piece.iter().collect::<String>())),
        );
    }
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    let mut seconds = f64::INFINITY;
    let mut guesses = Vec::new();
    for _ in 0..9 {
        let start = Instant::now();
        guesses = texts.iter().map(|(_, text)| languages.guess(text)).collect();
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    let rate = texts.len() as f64 / seconds;
    println!(
        "{} texts of 160 characters: {rate:.0} texts/s, {:.1} MB/s (one thread, fastest of 9)",
        texts.len(),
        bytes as f64 / 1e6 / seconds
    );

    // Recall by language, over the declarations whose code is one of the model's languages.
    let by_code: BTreeMap<&str, &str> = CODES
        .split_ascii_whitespace()
        .filter_map(|pair| pair.split_once(':'))
        .map(|(label, code)| (code, label))
        .collect();
    let labels: BTreeSet<&str> = guesses.iter().flatten().map(|guess| guess.language.as_str()).collect();
    let mut recall: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for ((code, _), guess) in texts.iter().zip(&guesses) {
        let label = by_code.get(code.as_str()).copied().or_else(|| labels.get(code.as_str()).copied());
        if let Some(label) = label {
            let (right, all) = recall.entry(label).or_default();
            *right += u32::from(guess.as_ref().is_some_and(|guess| guess.language == label));
            *all += 1;
        }
    }
    let mean =
        recall.values().map(|&(right, all)| f64::from(right) / f64::from(all)).sum::<f64>() / recall.len() as f64;
    println!("mean recall over {} languages: {mean:.3}", recall.len());
    let weak: Vec<String> = recall
        .iter()
        .filter(|(_, (right, all))| 2 * right < *all)
        .map(|(label, (right, all))| format!("{label} {right}/{all}"))
        .collect();
    println!("below one half: {}", weak.join(", "));
    Ok(())
}
