use proptest::prelude::*;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OUTER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const UID: &str = "3f1b2c4d-0a1b-4c2d-8e3f-001122334455";

fn place(path: &str) -> Place {
    let path = path
        .replace("{ID}", ID)
        .replace("{OUTER}", OUTER)
        .replace("{UID_}", &UID.replace('-', "_"));
    Place::from_path(path)
}

fn container(text: &str) -> Result<ContainerFilter, PlaceFilterError> {
    text.parse()
}

fn unit(text: &str) -> UnitFilter {
    text.parse().unwrap()
}

#[test]
fn a_container_is_named_by_the_beginning_of_its_id() {
    let docker = place("/system.slice/docker-{ID}.scope");
    for text in [ID, "0123456789ab", "012345", &format!("containerd://{ID}")] {
        assert!(container(text).unwrap().matches(&docker), "{text}");
    }
    for text in ["123456", "0123456789ac", OUTER, &format!("{ID}0")] {
        assert!(!container(text).unwrap().matches(&docker), "{text}");
    }
    assert!(!container("012345").unwrap().matches(&Place::default()));
}

#[test]
fn a_prefix_that_fits_many_is_refused() {
    assert_eq!(container("01234"), Err(PlaceFilterError::Short));
    assert_eq!(container("f"), Err(PlaceFilterError::Short));
    assert_eq!(container(""), Err(PlaceFilterError::Container));
    assert_eq!(container("docker://"), Err(PlaceFilterError::Container));
    assert_eq!(container("a b"), Err(PlaceFilterError::Container));
    assert_eq!(container("/docker/x"), Err(PlaceFilterError::Container));
}

#[test]
fn who_is_in_a_container_within_is_in_the_outer_one_too() {
    let nested = place("/docker/{OUTER}/docker/{ID}");
    assert_eq!(nested.container_id.as_deref(), Some(ID));
    assert!(container("012345").unwrap().matches(&nested));
    assert!(container("fedcba").unwrap().matches(&nested));
}

#[test]
fn containers_without_an_id_are_named_in_full() {
    let lxc = place("/lxc.payload.web-1/system.slice/nginx.service");
    assert!(container("web-1").unwrap().matches(&lxc));
    assert!(!container("web-").unwrap().matches(&lxc));
    // Also if the path of the recorded process does not contain it.
    let recorded = Place {
        path: "/x".into(),
        container_id: Some("web-1".into()),
        ..Place::default()
    };
    assert!(container("web-1").unwrap().matches(&recorded));
}

#[test]
fn a_pod_is_named_by_its_uid() {
    let pod = place("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope");
    for text in [UID, "3F1B2C4D", "3f1b2c4d-0a1b", "3f1b2c4d_0a1b"] {
        assert!(text.parse::<PodFilter>().unwrap().matches(&pod), "{text}");
    }
    let other: PodFilter = "3f1b2c4e".parse().unwrap();
    assert!(!other.matches(&pod) && !other.matches(&Place::default()));
    assert_eq!("3f1b".parse::<PodFilter>(), Err(PlaceFilterError::Short));
    assert_eq!("web-0".parse::<PodFilter>(), Err(PlaceFilterError::Pod));
    assert_eq!(
        format!("{UID}0").parse::<PodFilter>(),
        Err(PlaceFilterError::Pod)
    );
}

#[test]
fn units_are_named_as_systemctl_takes_them() {
    let user =
        place("/user.slice/user-1000.slice/user@1000.service/app.slice/my\\x2dapp@a.service");
    for text in [
        "my\\x2dapp@a.service",
        "my\\x2dapp@a",
        "my*@a.service",
        "my\\x2dapp@[ab].service",
        "user@1000",
        "user@*",
        "app.slice",
        "user-1???.slice",
        "*",
    ] {
        assert!(unit(text).matches(&user), "{text}");
    }
    for text in [
        "my-app@a",
        "myx2dapp@a",
        "my\\x2dapp@",
        "my\\x2dapp@[!a].service",
        "app",
        "user-1000",
    ] {
        assert!(!unit(text).matches(&user), "{text}");
    }
    assert!(!unit("*").matches(&Place::default()), "in no unit");
    assert_eq!("".parse::<UnitFilter>(), Err(PlaceFilterError::Unit));
    assert_eq!("a/b".parse::<UnitFilter>(), Err(PlaceFilterError::Unit));
}

#[test]
fn patterns_are_those_of_fnmatch() {
    for (pattern, name, fits) in [
        ("", "", true),
        ("*", "", true),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxbyy", false),
        ("*ab", "aab", true),
        ("?", "", false),
        ("[a-c]x", "bx", true),
        ("[!a-c]x", "bx", false),
        ("[^a-c]x", "dx", true),
        ("[]]", "]", true),
        ("[a-]", "-", true),
        ("[a", "[a", true),
        ("[", "[", true),
        ("\\*", "\\x2d", true),
        ("[c-a]", "b", false),
    ] {
        assert_eq!(
            matches_glob(pattern.as_bytes(), name.as_bytes()),
            fits,
            "{pattern} {name}"
        );
    }
}

#[test]
fn a_pattern_full_of_stars_takes_no_time() {
    let pattern = "*a".repeat(100) + "b";
    assert!(!matches_glob(
        pattern.as_bytes(),
        "a".repeat(4_096).as_bytes()
    ));
}

proptest! {
    #[test]
    fn any_text_is_refused_or_read_back_and_never_panics(text in "\\PC{0,20}", path in "\\PC*") {
        let place = Place::from_path(path);
        if let Ok(filter) = text.parse::<ContainerFilter>() {
            filter.matches(&place);
            prop_assert_eq!(filter.to_string().parse(), Ok(filter));
        }
        if let Ok(filter) = text.parse::<PodFilter>() {
            filter.matches(&place);
            prop_assert_eq!(filter.to_string().parse(), Ok(filter));
        }
        if let Ok(filter) = text.parse::<UnitFilter>() {
            filter.matches(&place);
            prop_assert_eq!(filter.to_string().parse(), Ok(filter));
        }
    }

    #[test]
    fn every_name_is_its_own_pattern(name in "[a-z@\\\\.:_-]{0,20}") {
        prop_assert!(matches_glob(name.as_bytes(), name.as_bytes()));
        let starred = name.chars().map(|char| format!("*{char}")).collect::<String>() + "*";
        prop_assert!(matches_glob(starred.as_bytes(), name.as_bytes()));
    }
}
