//! P8, P9 and P15: `strongroom seal` and `open` as whole processes, beside `cp`, and the memory they take.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::paint;
use crate::rounds::Effort;
use crate::rows::{Row, Target};

/// P8 and P9, in turns with `cp`: without fsync on either side, and with.
pub(crate) fn whole_process(effort: Effort) -> Vec<Row> {
    let target = Target::AtMost(1.15);
    let place = match Place::new() {
        Ok(place) => place,
        Err(why) => {
            return ["P8", "P9"]
                .map(|id| Row::not_run(id, "a file of 1 GiB, whole process", target, &why))
                .into();
        }
    };
    let len = effort.pick(8 << 20, 1 << 30);
    let size = effort.pick("8 MiB", "1 GiB");
    let (plain, sealed, opened) = (place.at("plain"), place.at("sealed"), place.at("opened"));
    let mut file = File::create(&plain).expect("a file");
    let piece = paint(251 << 12);
    for at in (0..len).step_by(piece.len()) {
        let take = piece.len().min(len - at);
        file.write_all(&piece[..take]).expect("a full disk?");
    }
    drop(file);
    place.strongroom("seal", &plain, &sealed, true);
    place.strongroom("open", &sealed, &opened, true);
    let same = Command::new("cmp").arg(&plain).arg(&opened).status();
    assert!(
        same.is_ok_and(|status| status.success()),
        "opens to what was sealed"
    );

    let mut rows = Vec::new();
    for (id, way, from, to) in [
        ("P8", "seal", &plain, &opened),
        ("P9", "open", &sealed, &opened),
    ] {
        for sync in [false, true] {
            let (mut ours, mut peer) = (f64::INFINITY, f64::INFINITY);
            for _ in 0..effort.pick(1, if sync { 3 } else { 7 }) {
                ours = ours.min(timed(to, || place.strongroom(way, from, to, sync)));
                peer = peer.min(timed(to, || copy(from, to, sync)));
            }
            let (end, peer_name) = if sync {
                ("to disk", "cp --reflink=never, sync -d")
            } else {
                ("to page cache", "cp --reflink=never")
            };
            let work = format!("strongroom {way}, {size} from page cache {end}, s");
            rows.push(Row::ratio(id, work, target, ours, (peer_name, peer)));
        }
    }
    rows.extend(beside_age(effort, size, &place));
    rows
}

/// P8 and P9 beside `age`, the program, where it is installed.
fn beside_age(effort: Effort, size: &str, place: &Place) -> Vec<Row> {
    let Ok(version) = Command::new("age").arg("--version").output() else {
        return Vec::new();
    };
    let version = String::from_utf8_lossy(&version.stdout);
    let name = format!("age {}", version.trim().trim_start_matches('v'));
    let [plain, sealed, opened] = ["plain", "sealed", "opened"].map(|name| place.at(name));
    let (identity, of_age) = (place.at("identity"), place.at("of-age"));
    expect_success(Command::new("age-keygen").arg("-o").arg(&identity));
    let age = |way: &str, from: &Path, to: &Path| {
        let mut age = Command::new("age");
        age.args([way, "-i"]).arg(&identity).arg("-o").arg(to);
        expect_success(age.arg(from));
    };
    age("-e", &plain, &of_age);
    let rounds = effort.pick(1, 3);
    [
        ("P8", "seal", "-e", &plain, &plain),
        ("P9", "open", "-d", &sealed, &of_age),
    ]
    .map(|(id, way, age_way, from, age_from)| {
        let (mut ours, mut peer) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..rounds {
            let work = || place.strongroom(way, from, &opened, false);
            ours = ours.min(timed(&opened, work));
            peer = peer.min(timed(&opened, || age(age_way, age_from, &opened)));
        }
        let work = format!("strongroom {way}, {size} from page cache to page cache, s");
        Row::ratio(id, work, Target::Beside, ours, (&name, peer))
    })
    .into()
}

/// P15: what a large input takes over what the program takes while it waits for one, in memory of its own. The pages of
/// the program's file are the kernel's: how many of them are resident differs from run to run by more than a buffer.
pub(crate) fn memory(effort: Effort) -> Vec<Row> {
    let target = Target::AtMost(1.0);
    let size = effort.pick("8 MiB", "4 GiB");
    let work = |what: &str| format!("{what} of {size}: peak private memory a stream, MiB");
    let place = match Place::new() {
        Ok(place) => place,
        Err(why) => return vec![Row::not_run("P15", work("a stream"), target, &why)],
    };
    let len: u64 = effort.pick(8 << 20, 4 << 30);
    let (large, out) = (place.at("large"), place.at("out"));
    let sparse = File::create(&large).expect("a file");
    sparse.set_len(len).expect("a file system with holes");
    let waiting = || {
        let mut command = place.command("seal", true);
        command.arg("-").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().expect("strongroom starts");
        let input = child.stdin.take();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(200));
            drop(input);
        });
        peak(child)
    };
    let streamed = || {
        let mut command = place.command("seal", true);
        command
            .arg("-")
            .stdin(File::open(&large).expect("readable"))
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("strongroom starts");
        let mut sealed = child.stdout.take().expect("a pipe");
        let drain = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while sealed.read(&mut buffer).is_ok_and(|got| got > 0) {}
        });
        let peak = peak(child);
        drain.join().expect("reads to the end");
        peak
    };
    let between_files = || {
        let mut command = place.command("seal", false);
        command.arg(&large).arg("-o").arg(&out);
        let peak = peak(command.spawn().expect("strongroom starts"));
        fs::remove_file(&out).expect("sealed");
        peak
    };
    let streams = thread::available_parallelism().map_or(1.0, |cores| {
        f64::from(u32::try_from(cores.get()).expect("a few cores"))
    });
    let waits = waiting();
    let pipe = streamed() - waits;
    let file = (between_files() - waits) / streams;
    vec![
        Row::value("P15", work("seal - in a pipe"), target, pipe),
        Row::value(
            "P15",
            work("seal between files, one stream a core,"),
            target,
            file,
        ),
    ]
}

/// A directory on disk, a key file, and the program.
struct Place {
    dir: TempDir,
    program: PathBuf,
}

impl Place {
    fn new() -> Result<Self, String> {
        let here = std::env::current_exe().expect("this program has a path");
        let release = here.parent().expect("in a directory");
        let program = release.join("strongroom");
        if !program.exists() {
            return Err(format!("no {}: make build first", program.display()));
        }
        // Beside the programs: a temporary directory may be memory.
        let dir = TempDir::new_in(release).map_err(|error| error.to_string())?;
        fs::write(dir.path().join("key"), [7; 32]).map_err(|error| error.to_string())?;
        Ok(Self { dir, program })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, way: &str, sync: bool) -> Command {
        let mut command = Command::new(&self.program);
        command.args([way, "--key-file"]).arg(self.at("key"));
        if !sync {
            command.arg("--no-sync");
        }
        command
    }

    fn strongroom(&self, way: &str, from: &Path, to: &Path, sync: bool) {
        let mut command = self.command(way, sync);
        expect_success(command.arg(from).arg("-o").arg(to));
    }
}

fn copy(from: &Path, to: &Path, sync: bool) {
    expect_success(Command::new("cp").arg("--reflink=never").arg(from).arg(to));
    if sync {
        expect_success(Command::new("sync").arg("-d").arg(to));
    }
}

fn expect_success(command: &mut Command) {
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// Seconds of `work`, which makes `to` anew.
fn timed(to: &Path, work: impl FnOnce()) -> f64 {
    let _ = fs::remove_file(to);
    let start = Instant::now();
    work();
    let seconds = start.elapsed().as_secs_f64();
    assert!(to.exists());
    seconds
}

/// Peak of the private memory that is resident of a child until it ends, in MiB.
fn peak(mut child: Child) -> f64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kib.unwrap_or(0.0) / 1024.0);
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success());
            return peak;
        }
        thread::sleep(Duration::from_millis(1));
    }
}
