//! A node that is killed while a backup is taken: node and earlier backup stay whole, and the next backup is.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    harness::{Dice, alone, amount},
    load::load_while,
    oracle::{DEFINITIONS, Oracle},
    server::{Launch, binary},
};

#[test]
fn a_kill_during_a_backup_harms_neither_node_nor_backup() {
    let _alone = alone();
    let rounds = amount("LARDER_BACKUP_KILLS", 2, 20);
    let mut dice = Dice::new("backup_kills");
    let (dir, place, oracle) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Oracle::default());
    let backup = place.path().join("backup");
    let first = Launch::new(dir.path()).start();
    first.apply(DEFINITIONS);
    first.kill();
    let mut unfinished = 0;
    for round in 0..rounds {
        let server = Launch::new(dir.path()).start();
        let base = server.base.clone();
        let wait = Duration::from_millis(dice.roll(250));
        let mut client = None;
        load_while(&base, &oracle, || {
            std::thread::sleep(Duration::from_millis(300));
            client = Some(take(&backup, &base).stderr(Stdio::null()).spawn().unwrap());
            std::thread::sleep(wait);
            server.kill();
        });
        unfinished += u64::from(!client.unwrap().wait().unwrap().success());
        let server = Launch::new(dir.path()).start();
        oracle.check(&server);
        // In the same directory, over what the killed one left.
        let whole = take(&backup, &server.base).output().unwrap();
        assert!(whole.status.success(), "{round}: {}", String::from_utf8_lossy(&whole.stderr));
        server.kill();
        let restored = TempDir::new().unwrap();
        let output = Command::new(binary())
            .arg("restore")
            .arg(&backup)
            .arg("--data")
            .arg(restored.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{round}: {}", String::from_utf8_lossy(&output.stderr));
        oracle.scan(restored.path());
    }
    oracle.scan(dir.path());
    println!(
        "backup_kills={rounds} unfinished={unfinished} restored={rounds} acked={} {}",
        oracle.acked(),
        oracle.faults.lock().unwrap()
    );
    oracle.assert_faultless();
}

fn take(backup: &Path, base: &str) -> Command {
    let mut command = Command::new(binary());
    command.arg("backup").arg(backup).args(["--server", base]).stdout(Stdio::null());
    command
}
