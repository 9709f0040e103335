#![allow(clippy::unwrap_used, reason = "tests")]

use aws_lc_rs::digest::{SHA256, digest};
use tempfile::TempDir;

use super::*;

/// Two keys are the same when one opens what the other sealed.
fn same(one: &SealingKey, other: &SealingKey) -> bool {
    other.open(&one.seal(b"probe").unwrap()).is_ok()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// Every file below `folder`, by its path in it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[test]
fn the_built_in_component_is_the_original_s() {
    assert_eq!(
        hex::encode(digest(&SHA256, BUILT_IN_COMPONENT)),
        "328ea5d849bce14e6ca73f96968daaaedfd4a3fb3ac9333a640c96ebe44678d8"
    );
}

#[test]
fn the_known_root_key() {
    let ascending = std::array::from_fn(|at| at as u8);
    let descending = std::array::from_fn(|at| 255 - at as u8);
    assert_eq!(
        hex::encode(root_key(&[b'a'; 256], &ascending, &descending)),
        "b7771610e55fb33baca750aa4916f8e5b143c14ab8ceaf0f775daa79c6bb9e77"
    );
}

#[test]
fn a_new_folder_is_made_private_and_opens_again() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("keys");
    let made = open_or_create(&folder, None).unwrap();
    assert_eq!(
        files(&folder),
        [
            "cprop/c_properties",
            "key_component",
            "sprop/s_properties",
            "wnprop/wn_properties",
            "wprop/w_properties"
        ]
    );
    for file in files(&folder) {
        assert_eq!(mode(&folder.join(&file)), 0o600, "{file}");
    }
    for name in ["", "cprop", "sprop", "wnprop", "wprop"] {
        assert_eq!(mode(&folder.join(name)), 0o700, "{name}");
    }
    assert_eq!(fs::read(folder.join("wprop/w_properties")).unwrap().len(), 48);

    assert!(same(&made, &open_or_create(&folder, None).unwrap()));
    assert!(same(&made, &open(&folder, None).unwrap()));

    let other = parent.path().join("other");
    assert!(!same(&made, &open_or_create(&other, None).unwrap()));
}

#[test]
fn an_operator_s_component_is_not_stored() {
    let folder = TempDir::new().unwrap();
    let component = [b'k'; 300];
    let made = open_or_create(folder.path(), Some(&component)).unwrap();
    assert!(!folder.path().join("key_component").exists());

    // Only the first 256 bytes count.
    assert!(same(&made, &open(folder.path(), Some(&component[..256])).unwrap()));
    for component in [None, Some(&[b'x'; 256][..]), Some(&component[..255])] {
        assert!(open(folder.path(), component).is_err());
        assert!(open_or_create(folder.path(), component).is_err());
    }
    assert!(!folder.path().join("key_component").exists());
}

#[test]
fn a_start_that_was_cut_short_is_finished_by_the_next() {
    let all = ["wprop/w_properties", "wnprop/wn_properties", "sprop/s_properties"];
    for count in 1..=all.len() {
        let folder = TempDir::new().unwrap();
        open_or_create(folder.path(), None).unwrap();
        for file in &all[..count] {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        fs::write(folder.path().join("wprop/w_properties.new"), b"half").unwrap();
        let made = open_or_create(folder.path(), None).unwrap();
        assert!(same(&made, &open(folder.path(), None).unwrap()), "{count}");
        assert_eq!(files(folder.path()).iter().filter(|file| file.ends_with("new")).count(), 0);
    }
}

#[test]
fn a_damaged_folder_is_refused_and_left_alone() {
    let check = |damage: &dyn Fn(&Path), message: &str| {
        let folder = TempDir::new().unwrap();
        open_or_create(folder.path(), None).unwrap();
        damage(folder.path());
        let before = files(folder.path());
        let error = open_or_create(folder.path(), None).unwrap_err().to_string();
        assert!(error.ends_with(message), "{error}");
        assert_eq!(files(folder.path()), before);
    };
    let remove =
        |file: &'static str| move |folder: &Path| fs::remove_file(folder.join(file)).unwrap();
    let gap = "is missing beside files that were made after it";
    check(&remove("key_component"), &format!("key_component {gap}"));
    check(&remove("cprop/c_properties"), &format!("c_properties {gap}"));
    check(&remove("sprop/s_properties"), &format!("s_properties {gap}"));
    check(&remove("wnprop/wn_properties"), &format!("wn_properties {gap}"));

    let fill = |file: &'static str, bytes: &'static [u8]| {
        move |folder: &Path| fs::write(folder.join(file), bytes).unwrap()
    };
    check(&fill("cprop/c_properties", b"short"), "holds 5 bytes instead of 256");
    check(&fill("key_component", &[0; 257]), "holds 257 bytes instead of 256");
    let mismatch = "was not made with this key component and these files";
    check(&fill("sprop/s_properties", &[0; 256]), mismatch);
    check(&fill("wprop/w_properties", &[0; 48]), mismatch);
    check(&fill("wprop/w_properties", b""), mismatch);
    check(&fill("wnprop/wn_properties", b"x"), mismatch);
}

#[test]
fn opening_makes_nothing() {
    let folder = TempDir::new().unwrap();
    assert!(matches!(open(folder.path(), None), Err(KeyMaterialError::File { .. })));
    assert_eq!(files(folder.path()), [""; 0]);
}
