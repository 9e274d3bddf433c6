//! The networks that people study, one file a family, and the register of their names.

mod resnet;
mod resnet_cifar;
mod small;
mod vgg;

pub use resnet::resnet;
pub use resnet_cifar::resnet_cifar;
pub use small::{SmallConfig, small};
pub use vgg::vgg;

use crate::network::{Classes, InputSpec, Network, NetworkError, letters, nearest};

/// Where weights that others trained for a network are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pretrained {
    /// Name of the file.
    pub file: &'static str,
    /// The folder it stands in on the web, with a slash at its end.
    folder: &'static str,
    /// Repository on the Hugging Face hub with the same weights as safetensors, `owner/repo`.
    pub hub: Option<&'static str>,
}

impl Pretrained {
    /// Address of the file.
    pub fn url(&self) -> String {
        format!("{}{}", self.folder, self.file)
    }
}

/// A network that [`build`] knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// Trained values.
    pub parameters: usize,
    /// The images it takes.
    pub input: InputSpec,
    /// What its outputs stand for.
    pub classes: Classes,
    /// Weights that others trained.
    pub pretrained: Option<Pretrained>,
}

struct Entry {
    name: &'static str,
    about: &'static str,
    pretrained: Option<Pretrained>,
    /// Classes of the data set it is known for.
    classes: Classes,
    build: fn(Classes) -> Result<Network, NetworkError>,
}

/// torchvision's weights (`IMAGENET1K_V1`, the original recipe) and timm's copy of them.
const fn imagenet(
    name: &'static str,
    about: &'static str,
    file: &'static str,
    hub: &'static str,
    build: fn(Classes) -> Result<Network, NetworkError>,
) -> Entry {
    let folder = "https://download.pytorch.org/models/";
    let pretrained = Some(Pretrained {
        file,
        folder,
        hub: Some(hub),
    });
    Entry {
        name,
        about,
        pretrained,
        classes: Classes::ImageNet1k,
        build,
    }
}

/// Weights of akamaster/pytorch_resnet_cifar10.
const fn cifar(
    name: &'static str,
    about: &'static str,
    file: &'static str,
    build: fn(Classes) -> Result<Network, NetworkError>,
) -> Entry {
    let folder =
        "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/";
    let pretrained = Some(Pretrained {
        file,
        folder,
        hub: None,
    });
    Entry {
        name,
        about,
        pretrained,
        classes: Classes::Cifar10,
        build,
    }
}

#[rustfmt::skip]
static ENTRIES: [Entry; 19] = [
    imagenet("vgg11", "VGG configuration A: 8 convolutions, 3 dense layers (Simonyan & Zisserman 2014)", "vgg11-8a719046.pth", "timm/vgg11.tv_in1k", |classes| vgg(11, false, classes)),
    imagenet("vgg11_bn", "VGG-11 with batch-norm", "vgg11_bn-6002323d.pth", "timm/vgg11_bn.tv_in1k", |classes| vgg(11, true, classes)),
    imagenet("vgg13", "VGG configuration B: 10 convolutions, 3 dense layers", "vgg13-19584684.pth", "timm/vgg13.tv_in1k", |classes| vgg(13, false, classes)),
    imagenet("vgg13_bn", "VGG-13 with batch-norm", "vgg13_bn-abd245e5.pth", "timm/vgg13_bn.tv_in1k", |classes| vgg(13, true, classes)),
    imagenet("vgg16", "VGG configuration D: 13 convolutions, 3 dense layers", "vgg16-397923af.pth", "timm/vgg16.tv_in1k", |classes| vgg(16, false, classes)),
    imagenet("vgg16_bn", "VGG-16 with batch-norm", "vgg16_bn-6c64b313.pth", "timm/vgg16_bn.tv_in1k", |classes| vgg(16, true, classes)),
    imagenet("vgg19", "VGG configuration E: 16 convolutions, 3 dense layers", "vgg19-dcbb9e9d.pth", "timm/vgg19.tv_in1k", |classes| vgg(19, false, classes)),
    imagenet("vgg19_bn", "VGG-19 with batch-norm", "vgg19_bn-c79401a0.pth", "timm/vgg19_bn.tv_in1k", |classes| vgg(19, true, classes)),
    imagenet("resnet18", "ResNet of 8 basic blocks (He et al. 2015)", "resnet18-f37072fd.pth", "timm/resnet18.tv_in1k", |classes| resnet(18, classes)),
    imagenet("resnet34", "ResNet of 16 basic blocks", "resnet34-b627a593.pth", "timm/resnet34.tv_in1k", |classes| resnet(34, classes)),
    imagenet("resnet50", "ResNet of 16 bottleneck blocks, stride on the 3x3 (v1.5)", "resnet50-0676ba61.pth", "timm/resnet50.tv_in1k", |classes| resnet(50, classes)),
    imagenet("resnet101", "ResNet of 33 bottleneck blocks", "resnet101-63fe2227.pth", "timm/resnet101.tv_in1k", |classes| resnet(101, classes)),
    imagenet("resnet152", "ResNet of 50 bottleneck blocks", "resnet152-394f9c45.pth", "timm/resnet152.tv_in1k", |classes| resnet(152, classes)),
    cifar("resnet20-cifar", "ResNet for CIFAR-10, 9 basic blocks, option A shortcuts (He et al. 2015, section 4.2)", "resnet20-12fca82f.th", |classes| resnet_cifar(20, classes)),
    cifar("resnet32-cifar", "ResNet for CIFAR-10, 15 basic blocks", "resnet32-d509ac18.th", |classes| resnet_cifar(32, classes)),
    cifar("resnet44-cifar", "ResNet for CIFAR-10, 21 basic blocks", "resnet44-014dd654.th", |classes| resnet_cifar(44, classes)),
    cifar("resnet56-cifar", "ResNet for CIFAR-10, 27 basic blocks", "resnet56-4bfd9763.th", |classes| resnet_cifar(56, classes)),
    cifar("resnet110-cifar", "ResNet for CIFAR-10, 54 basic blocks", "resnet110-1d1ed7c2.th", |classes| resnet_cifar(110, classes)),
    Entry {
        name: "small",
        about: "plain CNN for own data: 4 convolutions with batch-norm, 1 hidden dense layer, 64x64 images",
        pretrained: None,
        classes: Classes::Count(10),
        build: |classes| small(&SmallConfig { classes, ..SmallConfig::default() }),
    },
];

/// The network of this name, for `classes` own classes or (`None`) for those of the data set it is known for.
/// Case and punctuation do not matter: `VGG16-BN` is `vgg16_bn`.
///
/// # Errors
/// [`NetworkError::UnknownNetwork`] with the nearest names; no classes.
pub fn build(name: &str, classes: Option<usize>) -> Result<Network, NetworkError> {
    let entry = find(name)?;
    (entry.build)(classes.map_or(entry.classes.clone(), Classes::Count))
}

/// Weights that others trained for the network of this name, where there are any.
///
/// # Errors
/// [`NetworkError::UnknownNetwork`] with the nearest names.
pub fn pretrained(name: &str) -> Result<Option<Pretrained>, NetworkError> {
    Ok(find(name)?.pretrained)
}

/// The names that [`build`] takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// All that is known of each network.
///
/// # Errors
/// If one cannot be built, which the tests rule out.
pub fn list() -> Result<Vec<Known>, NetworkError> {
    let known = |entry: &Entry| {
        let network = (entry.build)(entry.classes.clone())?;
        Ok(Known {
            name: entry.name,
            about: entry.about,
            parameters: network.parameter_count(),
            input: network.input,
            classes: network.classes,
            pretrained: entry.pretrained,
        })
    };
    ENTRIES.iter().map(known).collect()
}

fn find(name: &str) -> Result<&'static Entry, NetworkError> {
    let wanted = letters(name);
    ENTRIES
        .iter()
        .find(|entry| letters(entry.name) == wanted)
        .ok_or_else(|| NetworkError::UnknownNetwork {
            name: name.to_owned(),
            near: nearest(name, names(), 3),
        })
}
