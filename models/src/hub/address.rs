//! `hf:owner/repo@revision/file`: the address of a file on the Hugging Face hub.

use std::fmt;
use std::str::FromStr;

use crate::formats::WeightsError;
use crate::text::one_line;

/// A model repository on the Hugging Face hub, with an optional file.
///
/// Written `hf:owner/repo`, `hf:owner/repo/FILE` or `hf:owner/repo@revision/FILE`; a revision is a branch, a tag, a
/// commit or `refs/pr/N`. Slashes in other revisions are written `%2F`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubAddress {
    /// `owner/repo`.
    pub repo: String,
    /// Branch, tag or commit; `main` by default.
    pub revision: String,
    /// Path of the file in the repository, if given.
    pub file: Option<String>,
}

impl HubAddress {
    /// Prefix of every hub address.
    pub const SCHEME: &str = "hf:";
}

impl FromStr for HubAddress {
    type Err = WeightsError;

    fn from_str(address: &str) -> Result<Self, WeightsError> {
        let wrong = |reason: &str| WeightsError::HubAddress { address: one_line(address), reason: reason.to_owned() };
        let rest = address.strip_prefix(Self::SCHEME).ok_or_else(|| wrong("it does not start with hf:"))?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (owner, rest) = rest.split_once('/').ok_or_else(|| wrong("the repository is missing"))?;
        let (name, tail) = match rest.find(['/', '@']) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        if !is_path_part(owner) || !is_path_part(name) {
            return Err(wrong("owner and repository are made of letters, digits, '.', '_' and '-'"));
        }
        let (revision, file) = match tail.strip_prefix('@') {
            Some(tail) => {
                let end = match tail.strip_prefix("refs/") {
                    // refs/pr/1 and refs/convert/parquet contain slashes.
                    Some(_) => tail.match_indices('/').nth(2).map_or(tail.len(), |(end, _)| end),
                    None => tail.find('/').unwrap_or(tail.len()),
                };
                (tail[..end].replace("%2F", "/"), &tail[end..])
            }
            None => ("main".to_owned(), tail),
        };
        if !revision.split('/').all(is_path_part) {
            return Err(wrong("the revision is not the name of a branch, tag or commit"));
        }
        let file = match file.trim_start_matches('/') {
            "" => None,
            file if file.split('/').all(is_path_part) => Some(file.to_owned()),
            _ => return Err(wrong("the file is not a path inside a repository")),
        };
        Ok(Self { repo: format!("{owner}/{name}"), revision, file })
    }
}

/// Whether a path component is safe in addresses and in the cache: it cannot leave its folder.
pub(super) fn is_path_part(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+=".contains(c);
    !part.is_empty() && part.len() <= 255 && part != "." && part != ".." && part.chars().all(plain)
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::SCHEME, self.repo)?;
        if self.revision != "main" {
            let slashes_stay = self.revision.starts_with("refs/") && self.revision.matches('/').count() == 2;
            let revision = if slashes_stay { self.revision.clone() } else { self.revision.replace('/', "%2F") };
            write!(f, "@{revision}")?;
        }
        self.file.iter().try_for_each(|file| write!(f, "/{file}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, repo, revision, file) in [
            ("hf:timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k", "main", None),
            ("hf:timm/vgg16/model.safetensors", "timm/vgg16", "main", Some("model.safetensors")),
            ("hf:a/b@v1.0", "a/b", "v1.0", None),
            ("hf:a/b@v1.0/sub/model.bin", "a/b", "v1.0", Some("sub/model.bin")),
            ("hf:a/b@refs/pr/7/model.bin", "a/b", "refs/pr/7", Some("model.bin")),
            ("hf:a/b@refs/pr/7", "a/b", "refs/pr/7", None),
            ("hf:a/b@fix%2Fhead/model.bin", "a/b", "fix/head", Some("model.bin")),
        ] {
            let address: HubAddress = text.parse().unwrap();
            assert_eq!((address.repo.as_str(), address.revision.as_str()), (repo, revision), "{text}");
            assert_eq!(address.file.as_deref(), file, "{text}");
            assert_eq!(address.to_string(), text);
        }
        let slashes: HubAddress = "hf://a/b/".parse().unwrap();
        assert_eq!(slashes.to_string(), "hf:a/b");
    }

    #[test]
    fn wrong_addresses_say_why() {
        for text in [
            "hf:",
            "hf:resnet50",
            "hf:/repo",
            "hf:a/",
            "hf:../b",
            "hf:a/..",
            "hf:a/b/../../c",
            "hf:a/b@",
            "hf:a/b@../x/y",
            "hf:a/b@%2F..%2F",
            "hf:a/b/c d",
            "hf:a/b/c?x",
            "hf:a b/c",
            "model.pth",
            "hf:a/b/c\n",
            "hf:a/b//x//y",
        ] {
            let error = HubAddress::from_str(text).unwrap_err().to_string();
            assert!(error.contains("write hf:owner/repo"), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
