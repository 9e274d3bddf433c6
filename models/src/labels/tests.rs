//! Tests of the lists and of the search for a class.

use super::*;

fn imagenet(query: &str) -> Result<usize, String> {
    Labels::imagenet1k().find(query).map_err(|e| e.to_string())
}

#[test]
fn the_lists_are_whole_and_in_order() {
    let labels = Labels::imagenet1k();
    assert_eq!((labels.len(), Labels::cifar10().len()), (1000, 10));
    for (index, name) in [(0, "tench"), (134, "crane bird"), (281, "tabby"), (639, "maillot tank suit"), (999, "toilet tissue")] {
        assert_eq!(labels.name(index), Some(name));
    }
    assert_eq!(labels.name(1000), None);
    assert_eq!(Labels::cifar10().names().collect::<Vec<_>>()[..3], ["airplane", "automobile", "bird"]);
}

#[test]
fn every_class_is_found_by_its_name_and_index() {
    for labels in [Labels::imagenet1k(), Labels::cifar10()] {
        for (index, name) in labels.names().enumerate() {
            assert_eq!(labels.find(name), Ok(index));
            assert_eq!(labels.find(&index.to_string()), Ok(index));
        }
    }
}

#[test]
fn names_are_found_as_people_write_them() {
    for (query, index) in [
        ("TABBY", 281),
        ("tabby_cat", 281),
        (" tiger cat ", 282),
        ("Tinca tinca", 0),
        ("golden-retriever", 207),
        ("Cardigan", 264),
        ("cardigan", 474),
        ("retriever golden", 1000),
        ("Weimaraner", 178),
        ("crane", 517),
        ("alsatian", 235),
        ("corkscre", 512),
    ] {
        assert_eq!(imagenet(query).unwrap_or(1000), index, "{query}");
    }
}

#[test]
fn several_matches_are_listed() {
    let message = imagenet("CARDIGAN").unwrap_err();
    assert_eq!(
        message,
        "class \"CARDIGAN\" could be any of \"Cardigan\" (264), \"cardigan\" (474): give the whole name or the index"
    );
    let message = imagenet("dog").unwrap_err();
    assert!(message.contains(" more: give") && message.len() < 400, "{message}");
}

#[test]
fn misspelt_names_get_near_ones() {
    let message = imagenet("golden retreiver").unwrap_err();
    assert!(message.starts_with("there is no class \"golden retreiver\": the nearest names are \"golden retriever\" (207), "));
    assert!(Labels::cifar10().find("aeroplane").unwrap_err().to_string().contains("\"airplane\" (0)"));
    assert!(imagenet("").unwrap_err().starts_with("there is no class \"\""));
    assert!(imagenet("no\nsuch\u{1b}").unwrap_err().starts_with("there is no class \"no such\\u{1b}\": "));
}

#[test]
fn indices_past_the_end_are_refused() {
    assert_eq!(imagenet("1000").unwrap_err(), "there is no class 1000: the classes are 0 to 999");
    assert!(imagenet("99999999999999999999999").unwrap_err().contains("0 to 999"));
}

#[test]
fn a_name_of_digits_goes_before_an_index() {
    let digits = Labels::new(["1", "10", "2"]);
    assert_eq!(digits.find("2"), Ok(2));
    assert_eq!(digits.find("10"), Ok(1));
    assert_eq!(digits.find("0"), Ok(0));
}
