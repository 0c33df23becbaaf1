//! Fetches a bundle as an archive, in pieces, and goes on where it was cut off.
//!
//! What has come so far lies beside the target as `<target>.part`. A directory is unpacked from the
//! whole archive, under a name of its own until it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Output;
use crate::durable;
use crate::pb;
use crate::verify::Source;
use crate::verify::source::Archive;

/// How often a connection may break without a byte having come.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Puts the bundle under its name, which must be free.
pub async fn bundle(client: &Client, export: &pb::Export, out: &Path, output: Output) -> Result<(), Failure> {
    if out.try_exists()? {
        return Err(Failure::usage(format_args!("{} is there already", out.display())));
    }
    let size = export.result.as_ref().map_or(0, |result| result.size_bytes);
    let part = beside(out, ".part");
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&part).map_err(at(&part))?;
    let mut have = file.metadata()?.len();
    if have > size {
        return Err(Failure::usage(format_args!(
            "{} is longer than the bundle: of another one?",
            part.display()
        )));
    }
    let mut attempts = 0;
    while have < size {
        let before = have;
        let broke = pieces(client, export, &mut file, &mut have, size, output).await;
        attempts = if have > before { 0 } else { attempts + 1 };
        match broke {
            Err(failure) if failure.exit != Exit::Unavailable || attempts >= ATTEMPTS => return Err(failure),
            Err(_) => tokio::time::sleep(PAUSE).await,
            Ok(()) => {}
        }
    }
    output.progress_done();
    file.sync_all()?;
    if out.extension().is_some_and(|extension| extension == "tar") {
        fs::rename(&part, out).map_err(at(out))?;
    } else {
        unpack(&part, out)?;
        fs::remove_file(&part).map_err(at(&part))?;
    }
    Ok(durable::sync_dir(&parent(out))?)
}

async fn pieces(
    client: &Client,
    export: &pb::Export,
    file: &mut File,
    have: &mut u64,
    size: u64,
    output: Output,
) -> Result<(), Failure> {
    let request = pb::DownloadExportRequest { export_id: export.export_id.clone(), offset: *have };
    let mut pieces = client.exports().download_export(request).await?.into_inner();
    while let Some(piece) = pieces.message().await? {
        if piece.offset != *have {
            return Err(Failure::new(Exit::Internal, "the pieces of the download do not follow each other"));
        }
        file.write_all(&piece.data)?;
        *have += piece.data.len() as u64;
        output.progress(&format!("{} of {} MiB", *have >> 20, size >> 20));
    }
    match *have {
        have if have == size => Ok(()),
        _ => Err(Failure::new(Exit::Unavailable, "the download ended early")),
    }
}

fn unpack(archive: &Path, out: &Path) -> Result<(), Failure> {
    let malformed = |why: crate::verify::Error| Failure::new(Exit::Malformed, why);
    let source = Archive::open(File::open(archive).map_err(at(archive))?).map_err(malformed)?;
    let making = beside(out, ".custody-partial");
    if making.try_exists()? {
        fs::remove_dir_all(&making).map_err(at(&making))?;
    }
    for (name, _) in source.files() {
        // Names with a place in a bundle; an archive with others was refused.
        let path = making.join(name);
        durable::make_dir(&parent(&path)).map_err(at(&path))?;
        let mut file =
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(at(&path))?;
        io::copy(&mut source.open(name)?, &mut file).map_err(at(&path))?;
        file.sync_all().map_err(at(&path))?;
    }
    fs::rename(&making, out).map_err(at(out))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn parent(path: &Path) -> PathBuf {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    above.unwrap_or(Path::new(".")).to_owned()
}

fn at(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(Exit::Configuration, format_args!("{}: {error}", path.display()))
}
