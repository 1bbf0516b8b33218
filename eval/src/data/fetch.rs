//! Downloads one file over HTTP: it is checked and unpacked, and gets its name only if the digest is right.

use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use dataset::{digest, write_file};

use super::catalogue::RemoteFile;

/// Maximum size of a file, packed or unpacked.
const LARGEST: u64 = 1 << 30;

/// Downloads a file into `folder` unless it exists. With `packed`, `url.gz` is tried if `url` is not found.
pub(super) async fn file(
    client: &reqwest::Client,
    url: &str,
    packed: bool,
    file: &RemoteFile,
    folder: &Path,
) -> anyhow::Result<()> {
    let path = folder.join(file.path);
    if path.exists() && digest::file(&path)? == file.sha256 {
        println!("  {}: already there", path.display());
        return Ok(());
    }
    let start = Instant::now();
    let bytes = match download(client, url).await? {
        Some(bytes) => bytes,
        None if packed => {
            download(client, &format!("{url}.gz")).await?.with_context(|| format!("{url}: not found, nor with .gz"))?
        }
        None => bail!(
            "{url}: not found; --mirror URL fetches from elsewhere, and the file may be placed at {} by hand",
            path.display()
        ),
    };
    let size = bytes.len();
    let bytes = unpack(bytes).with_context(|| format!("{url}: cannot unpack"))?;
    let found = digest::bytes(&bytes);
    if found != file.sha256 {
        bail!(
            "{url} has SHA-256 {found} (unpacked), not {}: it is not the file that was pinned, and is not kept",
            file.sha256
        );
    }
    std::fs::create_dir_all(path.parent().unwrap_or(folder))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    write_file(&path, &bytes)?;
    println!("  {}: {size} bytes in {:.1} s from {url}", path.display(), start.elapsed().as_secs_f64());
    Ok(())
}

/// The body; `None` for status 404.
async fn download(client: &reqwest::Client, url: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let failed = || {
        format!(
            "{url}: no answer; --mirror URL fetches from elsewhere, `herd data get` with --output names another folder"
        )
    };
    let mut response = client.get(url).send().await.with_context(failed)?;
    match response.status() {
        reqwest::StatusCode::NOT_FOUND => return Ok(None),
        status if !status.is_success() => bail!("{url} answers {status}"),
        _ => {}
    }
    let expected = response.content_length();
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.with_context(|| format!("{url}: interrupted after {} bytes", bytes.len()))?
    {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > LARGEST {
            bail!("{url} is larger than {LARGEST} bytes");
        }
    }
    if expected.is_some_and(|expected| expected != bytes.len() as u64) {
        bail!("{url}: interrupted after {} bytes; run the same command again", bytes.len());
    }
    Ok(Some(bytes))
}

/// The content of a gzip file; other bytes are returned unchanged.
fn unpack(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(LARGEST).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}
