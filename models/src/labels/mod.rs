//! Class names, and the search for a class by index or name.
//!
//! ```
//! use convscope_models::labels::Labels;
//!
//! let labels = Labels::imagenet1k();
//! assert_eq!(labels.name(281), Some("tabby"));
//! assert_eq!(labels.find("golden retriever")?, 207);
//! assert_eq!(labels.find_all("tabby, 207")?, [281, 207]);
//! assert!(labels.find("taby").unwrap_err().to_string().contains("tabby"));
//! # Ok::<(), convscope_models::labels::LabelError>(())
//! ```
//!
//! `imagenet1k.txt` has one class a line in torchvision's order (the sorted WordNet identifiers of ILSVRC 2012): the name
//! that torchvision prints, then the other lemmas of the WordNet synset, separated by tabs. WordNet 3.0 is (c) 2006
//! Princeton University and free to use with this notice. `cifar10.txt` is Krizhevsky's `batches.meta`.

use std::sync::LazyLock;

use thiserror::Error;

use crate::text::{distance, escaped, one_line, shortened};

/// Maximum classes in a message.
const LISTED: usize = 8;
/// Maximum characters of a name that is shown.
const LONGEST_NAME: usize = 200;

static IMAGENET1K: LazyLock<Labels> = LazyLock::new(|| Labels::parse(include_str!("imagenet1k.txt")));
static CIFAR10: LazyLock<Labels> = LazyLock::new(|| Labels::parse(include_str!("cifar10.txt")));

/// The classes of a data set in the order of the network's outputs.
#[derive(Clone, Debug)]
pub struct Labels {
    classes: Vec<Class>,
}

/// One class: its display name, escaped and of bounded length, and all names for the search (its own first), normalised by [`fold`].
#[derive(Clone, Debug)]
struct Class {
    name: String,
    folded: Vec<String>,
}

/// A query that matches no class, or several. Each message is one line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LabelError {
    /// An index out of range.
    #[error("there is no class {index}: the classes are 0 to {}", classes.saturating_sub(1))]
    IndexOutOfRange {
        /// The index as it was written.
        index: String,
        /// Number of classes.
        classes: usize,
    },
    /// Several classes match.
    #[error("class \"{query}\" could be any of {candidates}: give the whole name or the index")]
    Ambiguous {
        /// The query.
        query: String,
        /// The matching classes with their indices; a long list ends in "and N more".
        candidates: String,
    },
    /// No class matches.
    #[error("there is no class \"{query}\": the nearest names are {nearest}")]
    Unknown {
        /// The query.
        query: String,
        /// The classes with the most similar names, with their indices.
        nearest: String,
    },
}

impl Labels {
    /// The 1,000 classes of ImageNet (ILSVRC 2012) under torchvision's names.
    pub fn imagenet1k() -> &'static Self {
        &IMAGENET1K
    }

    /// The ten classes of CIFAR-10.
    pub fn cifar10() -> &'static Self {
        &CIFAR10
    }

    /// Labels of another data set, such as the folder names of an image folder.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let class = |name: String| {
            let shown = escaped(&shortened(&name, LONGEST_NAME)).into_owned();
            Class { folded: vec![fold(&name)], name: shown }
        };
        Self { classes: names.into_iter().map(|name| class(name.into())).collect() }
    }

    /// Parses one class a line: its name, then synonyms, separated by tabs.
    fn parse(text: &str) -> Self {
        let class = |line: &str| Class {
            name: line.split('\t').next().unwrap_or_default().to_owned(),
            folded: line.split('\t').map(fold).collect(),
        };
        Self { classes: text.lines().map(class).collect() }
    }

    /// The number of classes.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are no classes.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The name of a class; `None` for an index out of range.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.classes.get(index).map(|class| class.name.as_str())
    }

    /// The names in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.classes.iter().map(|class| class.name.as_str())
    }

    /// The index of the class that matches `query`.
    ///
    /// The first of these that matches: the exact name; an index; the name up to case, hyphens and underscores; a synonym; whole
    /// words of a name or synonym ("golden", but not "retriever golden"); any substring.
    ///
    /// # Errors
    /// [`LabelError`] if nothing matches, or if several classes match at the first of these.
    pub fn find(&self, query: &str) -> Result<usize, LabelError> {
        let query = query.trim();
        if let Some(index) = self.classes.iter().position(|class| class.name == query) {
            return Ok(index);
        }
        if !query.is_empty() && query.bytes().all(|b| b.is_ascii_digit()) {
            let out_of_range = || LabelError::IndexOutOfRange { index: query.to_owned(), classes: self.len() };
            return query.parse().ok().filter(|&index| index < self.len()).ok_or_else(out_of_range);
        }
        let wanted = fold(query);
        let steps: [&dyn Fn(&Class) -> bool; 4] = [
            &|class| class.folded[0] == wanted,
            &|class| class.folded.contains(&wanted),
            &|class| class.folded.iter().any(|name| format!(" {name} ").contains(&format!(" {wanted} "))),
            &|class| class.folded.iter().any(|name| name.contains(&wanted)),
        ];
        for fits in steps.iter().filter(|_| !wanted.is_empty()) {
            let found: Vec<usize> = (0..self.len()).filter(|&i| fits(&self.classes[i])).collect();
            match found[..] {
                [] => {}
                [index] => return Ok(index),
                _ => {
                    return Err(LabelError::Ambiguous { query: one_line(query), candidates: self.list(&found) });
                }
            }
        }
        let mut near: Vec<usize> = (0..self.len()).collect();
        near.sort_by_cached_key(|&i| self.classes[i].folded.iter().map(|name| distance(&wanted, name)).min());
        near.truncate(3);
        Err(LabelError::Unknown { query: one_line(query), nearest: self.list(&near) })
    }

    /// The classes of comma-separated queries. A name may contain a comma, so the whole text is tried first.
    ///
    /// # Errors
    /// As [`Labels::find`], for the first wrong query.
    pub fn find_all(&self, queries: &str) -> Result<Vec<usize>, LabelError> {
        if let Ok(one) = self.find(queries) {
            return Ok(vec![one]);
        }
        queries.split(',').map(|query| self.find(query)).collect()
    }

    /// `"tabby" (281), "tiger cat" (282)`.
    fn list(&self, indices: &[usize]) -> String {
        let shown = indices.iter().take(LISTED).map(|&i| format!("\"{}\" ({i})", self.classes[i].name));
        let mut text = shown.collect::<Vec<_>>().join(", ");
        if indices.len() > LISTED {
            text += &format!(" and {} more", indices.len() - LISTED);
        }
        text
    }
}

/// Lower case with single spaces for everything but letters and digits: "Golden_Retriever" and "golden retriever" are one name.
fn fold(name: &str) -> String {
    let spaced: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests;
