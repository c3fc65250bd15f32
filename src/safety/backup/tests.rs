//! The store, in temporary folders; what is saved of a real firewall is tests/guard's.

use super::*;

fn places() -> (tempfile::TempDir, Places) {
    let home = tempfile::tempdir().unwrap();
    let places = Places::under(home.path());
    places::folder(&places.backups).unwrap();
    (home, places)
}

/// A finished backup of that name, with one part.
fn made(places: &Places, id: &str, file: &str) -> PathBuf {
    let folder = places.backups.join(id);
    fs::create_dir(&folder).unwrap();
    let bytes = b"*filter\n:INPUT DROP [1:2]\nCOMMIT\n";
    fs::write(folder.join("iptables-nft.rules"), bytes).unwrap();
    let manifest = Manifest {
        schema: manifest::SCHEMA.to_owned(),
        id: id.to_owned(),
        time: clock::now(),
        who: Who::default(),
        why: "a test".to_owned(),
        host: String::new(),
        kernel: String::new(),
        parts: vec![
            Part::of("iptables-nft", file.to_owned(), bytes),
            Part::lacking("ip6tables-nft", NOTHING),
            Part::lacking("ip6tables-legacy", "it crashed"),
        ],
        lossy: Vec::new(),
    };
    let text = serde_json::to_vec(&manifest).unwrap();
    fs::write(folder.join("manifest.json"), text).unwrap();
    folder
}

const FILE: &str = "iptables-nft.rules";

#[test]
fn what_was_written_is_read_and_what_was_not_is_known() {
    let (_home, places) = places();
    made(&places, "a-1", FILE);
    let backup = load(&places, "a-1").unwrap();
    let [nft4, nft6, _, legacy6] = Origin::ALL;
    assert_eq!(backup.ruleset(nft4).unwrap().tables().len(), 1);
    assert_eq!(backup.ruleset(nft6).unwrap().tables().len(), 0);
    assert!(backup.knows(nft4) && backup.knows(nft6));
    assert!(
        !backup.knows(legacy6),
        "what could not be saved is not empty"
    );
}

#[test]
fn damage_is_found() {
    let (_home, places) = places();
    let why = |id: &str| match load(&places, id).unwrap_err() {
        BackupError::Damaged { what, .. } => what,
        other => panic!("{other:?}"),
    };
    let folder = made(&places, "changed", FILE);
    fs::write(folder.join(FILE), b"*filter\n:INPUT ACCEPT [1:2]\nCOMMIT\n").unwrap();
    assert!(why("changed").contains("checksum"));
    let folder = made(&places, "missing", FILE);
    fs::remove_file(folder.join(FILE)).unwrap();
    assert!(why("missing").contains(FILE));
    let folder = made(&places, "cut", FILE);
    fs::write(folder.join("manifest.json"), b"{\"schema\":").unwrap();
    assert!(why("cut").contains("manifest.json"));
    for (id, file) in [
        ("up", "../secret"),
        ("root", "/etc/shadow"),
        ("dot", ".hidden"),
    ] {
        made(&places, id, file);
        assert!(why(id).contains("no file of a backup"), "{file}");
    }
    let folder = made(&places, "one", FILE);
    fs::rename(folder, places.backups.join("other")).unwrap();
    assert!(why("other").contains("another backup"));
    for odd in ["", "..", "a/b", "nope"] {
        let error = load(&places, odd).unwrap_err();
        assert!(matches!(error, BackupError::Missing { .. }), "{odd}");
    }
}

#[test]
fn a_name_may_be_shortened_while_it_is_the_only_one() {
    let (_home, places) = places();
    assert!(find(&places, "latest").is_err());
    for id in ["2026-a", "2026-ab", "2027-c"] {
        made(&places, id, FILE);
    }
    let found = |wanted: &str| find(&places, wanted).ok();
    assert_eq!(found("2027").as_deref(), Some("2027-c"));
    assert_eq!(found("2026-a").as_deref(), Some("2026-a"));
    assert_eq!(found("latest").as_deref(), Some("2027-c"));
    for odd in ["2026", "", "..", "x"] {
        assert_eq!(found(odd), None, "{odd}");
    }
}

#[test]
fn the_oldest_go_but_never_one_that_is_needed() {
    let (_home, places) = places();
    for id in ["1", "2", "3", "4"] {
        made(&places, id, FILE);
    }
    // No process has this number: pid_max is 2^22 at most (proc(5)).
    let dead = places.backups.join(format!("{UNFINISHED}99999999-x"));
    let living = places
        .backups
        .join(format!("{UNFINISHED}{}-x", std::process::id()));
    for unfinished in [&dead, &living] {
        fs::create_dir(unfinished).unwrap();
    }
    prune(&places, 2, &["1"]).unwrap();
    assert_eq!(list(&places).unwrap(), ["1", "3", "4"]);
    prune(&places, 0, &[]).unwrap();
    assert_eq!(list(&places).unwrap(), ["4"], "one is always kept");
    assert!(!dead.exists() && living.exists());
}
