//! Stops the writer behind every single step, and looks what a reader finds.

use super::*;

type Action = fn(&Folder) -> Result<(), Error>;

const ACTIONS: &[(&str, bool, Action)] = &[
    ("the first version of a model", false, |folder| {
        folder.register(&model(), "run-1", &artifact(&[("model.json", "{}")])).map(drop)
    }),
    ("a further version, with folders", true, |folder| {
        let files =
            artifact(&[("a/b/c.txt", "c"), ("a/b/d.txt", "d"), ("e.txt", ""), ("f/g", "g")]);
        folder.register(&model(), "run-3", &files).map(drop)
    }),
    ("a known run", true, |folder| {
        folder.register(&model(), "run-1", &artifact(&[("model.json", "{}")])).map(drop)
    }),
    ("a promotion", true, |folder| {
        folder.set_alias(&model(), &Alias::production(), id(2), Some(id(1)))
    }),
    ("what is so", true, |folder| folder.set_alias(&model(), &Alias::production(), id(1), None)),
    ("a tag", true, |folder| folder.tag(&model(), id(2), "note", "good after all")),
];

/// A fresh folder whose steps a fuse may stop.
fn fused(path: &Path, template: &Path) -> Folder {
    copy(template, path);
    fs::create_dir_all(path.join("models")).unwrap();
    let mut folder = Folder::open(path, false).unwrap();
    folder.clock = Clock(Arc::new(noon));
    folder
}

/// Lets step 0, 1, 2 ... of each action fail until the action has no such step.
fn at_every_step(more: u64, mut check: impl FnMut(&str, Folder, Action, &Snapshot, &Snapshot)) {
    for (name, furnished, action) in ACTIONS {
        let place = tempfile::tempdir().unwrap();
        let whole = prepared(&place.path().join("whole"), *furnished);
        let before = snapshot(&whole).unwrap();
        let template = place.path().join("template");
        copy(&whole.root, &template);
        action(&whole).unwrap();
        let after = snapshot(&whole).unwrap();
        let mut steps = 0;
        loop {
            let folder = fused(&place.path().join(steps.to_string()), &template);
            let fuse = folder.disk.fuse.clone();
            fuse.set(steps, more);
            let done = action(&folder);
            if !fuse.is_burnt() {
                done.unwrap();
                break;
            }
            // An error in front of nothing but tidying up may go unseen; every other is told.
            if let Err(error) = done {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}, step {steps}: {error}");
                assert!(error.chain().ends_with("the fuse"), "{}", error.chain());
            }
            fuse.clear();
            check(&format!("{name}, step {steps}"), folder, *action, &before, &after);
            steps += 1;
        }
        assert!(steps > 0, "{name} writes something");
    }
}

#[test]
fn a_crash_behind_any_step_leaves_the_old_or_the_new_state() {
    at_every_step(u64::MAX, |place, crashed, action, before, after| {
        // What is left is what another process finds.
        let seen = snapshot(&crashed).unwrap();
        assert!(&seen == before || &seen == after, "{place}: {seen:#?}");
        let mut reopened = Folder::open(&crashed.root, true).unwrap();
        reopened.clock = crashed.clock.clone();
        assert_eq!(snapshot(&reopened).unwrap(), seen, "{place}: opening changes nothing");
        assert!(disk::names(&reopened.tmp()).unwrap_or_default().is_empty(), "{place}: tidied up");
        action(&reopened).unwrap_or_else(|error| panic!("{place}, again: {}", error.chain()));
        assert_eq!(&snapshot(&reopened).unwrap(), after, "{place}: the same call finishes it");
    });
}

#[test]
fn one_error_at_any_step_leaves_the_old_or_the_new_state() {
    at_every_step(0, |place, folder, action, before, after| {
        let seen = snapshot(&folder).unwrap();
        assert!(&seen == before || &seen == after, "{place}: {seen:#?}");
        action(&folder).unwrap_or_else(|error| panic!("{place}, again: {}", error.chain()));
        assert_eq!(&snapshot(&folder).unwrap(), after, "{place}: the same call finishes it");
        assert!(
            disk::names(&folder.tmp()).unwrap_or_default().is_empty(),
            "{place}: nothing is left over"
        );
    });
}

#[test]
fn an_interrupted_start_is_taken_up() {
    let place = tempfile::tempdir().unwrap();
    for step in 0.. {
        let path = place.path().join(step.to_string());
        let disk = Disk::default();
        disk.fuse.set(step, u64::MAX);
        let made = Folder::open_on(&path, Kind::ModelRegistry, true, disk.clone());
        if !disk.fuse.is_burnt() {
            made.unwrap();
            assert!(step > 3);
            return;
        }
        let folder = Folder::open(&path, true).unwrap();
        assert_eq!(snapshot(&folder).unwrap().versions, []);
        folder.register(&model(), "run-1", &artifact(&[])).unwrap();
    }
}
