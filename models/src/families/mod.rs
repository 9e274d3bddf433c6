//! The known network families, one file each, and the register of their names.

mod alexnet;
mod chollet;
mod densenet;
mod googlenet;
mod inception_v3;
mod keras;
mod mobilenet;
mod mobilenet_v2;
mod resnet;
mod resnet_cifar;
mod small;
mod squeezenet;
mod vgg;

pub use alexnet::alexnet;
pub use chollet::chollet_convnet;
pub use densenet::densenet;
pub use googlenet::googlenet;
pub use inception_v3::inception_v3;
pub use keras::{
    keras_densenet, keras_inception_v3, keras_mobilenet, keras_mobilenet_v2, keras_resnet, keras_resnet_v2, keras_vgg,
    keras_xception,
};
pub use mobilenet::mobilenet_v1;
pub(crate) use mobilenet_v2::BLOCKS as MOBILENET_V2_BLOCKS;
pub use mobilenet_v2::mobilenet_v2;
pub use resnet::{resnet, resnext};
pub use resnet_cifar::resnet_cifar;
pub use small::{SmallConfig, small};
pub use squeezenet::{SqueezeNet, squeezenet};
pub use vgg::vgg;

use crate::network::{Classes, InputSpec, Network, NetworkError};
use crate::text::{letters, nearest};
use std::path::PathBuf;

/// Source of published weights of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pretrained {
    /// Name of the file.
    pub file: String,
    /// Address of the file.
    pub url: String,
    /// Repository on the Hugging Face hub with the same weights as safetensors, `owner/repo`.
    pub hub: Option<String>,
    /// Download folder that holds the file.
    pub cache: Cache,
}

/// A framework's download folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// `$TORCH_HOME/hub/checkpoints`, by default in `~/.cache/torch`.
    PyTorch,
    /// `$KERAS_HOME/models`, by default in `~/.keras`.
    Keras,
}

impl Cache {
    /// The folder.
    pub fn folder(self) -> PathBuf {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let home = |folder: &str| Some(std::env::home_dir()?.join(folder));
        match self {
            Self::PyTorch => {
                let torch = || variable("XDG_CACHE_HOME").or_else(|| home(".cache")).unwrap_or_default().join("torch");
                variable("TORCH_HOME").unwrap_or_else(torch).join("hub").join("checkpoints")
            }
            Self::Keras => variable("KERAS_HOME").or_else(|| home(".keras")).unwrap_or_default().join("models"),
        }
    }
}

/// A network of the register.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// Description in one line.
    pub about: &'static str,
    /// Number of trained values.
    pub parameters: usize,
    /// Input size and channels.
    pub input: InputSpec,
    /// Classes of its outputs.
    pub classes: Classes,
    /// Published weights.
    pub pretrained: Option<Pretrained>,
}

struct Entry {
    name: &'static str,
    about: &'static str,
    /// Classes of its usual data set.
    classes: Classes,
    pretrained: Publisher,
    /// Channels of the first convolution.
    width: usize,
    build: Build,
}

/// Publisher of weights, with the checksum in the file's name.
enum Publisher {
    /// torchvision's `IMAGENET1K_V1`, the papers' recipe; timm has copies.
    Torchvision(&'static str),
    /// As `Torchvision`, for files whose name differs from the network's or that timm does not copy.
    TorchvisionFile(&'static str),
    /// keras.applications: folder and file.
    Keras(&'static str),
    /// akamaster/pytorch_resnet_cifar10.
    Akamaster(&'static str),
    Nobody,
}

impl Entry {
    fn pretrained(&self) -> Option<Pretrained> {
        let name = self.name;
        match self.pretrained {
            Publisher::Torchvision(checksum) => {
                let file = format!("{name}-{checksum}.pth");
                let url = format!("https://download.pytorch.org/models/{file}");
                Some(Pretrained { file, url, hub: Some(format!("timm/{name}.tv_in1k")), cache: Cache::PyTorch })
            }
            Publisher::TorchvisionFile(file) => {
                let url = format!("https://download.pytorch.org/models/{file}");
                Some(Pretrained { file: file.into(), url, hub: None, cache: Cache::PyTorch })
            }
            Publisher::Akamaster(checksum) => {
                let file = format!("{}-{checksum}.th", name.trim_end_matches("-cifar"));
                let folder = "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models";
                Some(Pretrained { url: format!("{folder}/{file}"), file, hub: None, cache: Cache::PyTorch })
            }
            Publisher::Keras(path) => {
                let file = path.rsplit('/').next().unwrap_or(path).to_owned();
                let url = format!("https://storage.googleapis.com/tensorflow/keras-applications/{path}");
                Some(Pretrained { file, url, hub: None, cache: Cache::Keras })
            }
            Publisher::Nobody => None,
        }
    }
}

const fn keras(name: &'static str, path: &'static str, width: usize, build: Build, about: &'static str) -> Entry {
    Entry { name, about, classes: Classes::ImageNet1k, pretrained: Publisher::Keras(path), width, build }
}

/// Largest width that a name may give.
const WIDEST: usize = 4096;

type Build = fn(usize, Classes) -> Result<Network, NetworkError>;

const fn imagenet(name: &'static str, checksum: &'static str, build: Build, about: &'static str) -> Entry {
    Entry { name, about, classes: Classes::ImageNet1k, pretrained: Publisher::Torchvision(checksum), width: resnet::WIDTH, build }
}

const fn torchvision(name: &'static str, file: &'static str, width: usize, build: Build, about: &'static str) -> Entry {
    Entry { name, about, classes: Classes::ImageNet1k, pretrained: Publisher::TorchvisionFile(file), width, build }
}

const fn cifar(name: &'static str, checksum: &'static str, build: Build, about: &'static str) -> Entry {
    Entry {
        name,
        about,
        classes: Classes::Cifar10,
        pretrained: Publisher::Akamaster(checksum),
        width: resnet_cifar::WIDTH,
        build,
    }
}

#[rustfmt::skip]
static ENTRIES: [Entry; 47] = [
    imagenet("vgg11",          "8a719046", |w, c| vgg(11, false, w, c),      "VGG configuration A, 8 convolutions (Simonyan & Zisserman 2014)"),
    imagenet("vgg11_bn",       "6002323d", |w, c| vgg(11, true, w, c),       "VGG-11 with batch-norm"),
    imagenet("vgg13",          "19584684", |w, c| vgg(13, false, w, c),      "VGG configuration B, 10 convolutions"),
    imagenet("vgg13_bn",       "abd245e5", |w, c| vgg(13, true, w, c),       "VGG-13 with batch-norm"),
    imagenet("vgg16",          "397923af", |w, c| vgg(16, false, w, c),      "VGG configuration D, 13 convolutions"),
    imagenet("vgg16_bn",       "6c64b313", |w, c| vgg(16, true, w, c),       "VGG-16 with batch-norm"),
    imagenet("vgg19",          "dcbb9e9d", |w, c| vgg(19, false, w, c),      "VGG configuration E, 16 convolutions"),
    imagenet("vgg19_bn",       "c79401a0", |w, c| vgg(19, true, w, c),       "VGG-19 with batch-norm"),
    imagenet("resnet18",       "f37072fd", |w, c| resnet(18, w, c),          "ResNet of 8 basic blocks (He et al. 2015)"),
    imagenet("resnet34",       "b627a593", |w, c| resnet(34, w, c),          "ResNet of 16 basic blocks"),
    imagenet("resnet50",       "0676ba61", |w, c| resnet(50, w, c),          "ResNet of 16 bottleneck blocks, stride on the 3x3 (v1.5)"),
    imagenet("resnet101",      "63fe2227", |w, c| resnet(101, w, c),         "ResNet of 33 bottleneck blocks"),
    imagenet("resnet152",      "394f9c45", |w, c| resnet(152, w, c),         "ResNet of 50 bottleneck blocks"),
    imagenet("resnext50_32x4d",  "7cdf4587", |w, c| resnext(50, 4, w, c),  "ResNeXt of 16 bottleneck blocks, 3x3 in 32 groups of 4 channels and more (Xie et al. 2016)"),
    imagenet("resnext101_32x8d", "8ba56ff5", |w, c| resnext(101, 8, w, c), "ResNeXt of 33 bottleneck blocks, 32 groups of 8 channels and more"),
    cifar("resnet20-cifar",    "12fca82f", |w, c| resnet_cifar(20, w, c),    "ResNet for CIFAR-10, 9 basic blocks (He et al. 2015, section 4.2)"),
    cifar("resnet32-cifar",    "d509ac18", |w, c| resnet_cifar(32, w, c),    "ResNet for CIFAR-10, 15 basic blocks"),
    cifar("resnet44-cifar",    "014dd654", |w, c| resnet_cifar(44, w, c),    "ResNet for CIFAR-10, 21 basic blocks"),
    cifar("resnet56-cifar",    "4bfd9763", |w, c| resnet_cifar(56, w, c),    "ResNet for CIFAR-10, 27 basic blocks"),
    cifar("resnet110-cifar",   "1d1ed7c2", |w, c| resnet_cifar(110, w, c),   "ResNet for CIFAR-10, 54 basic blocks"),
    torchvision("alexnet", "alexnet-owt-7be5be79.pth", alexnet::WIDTH, alexnet, "AlexNet, 5 convolutions (Krizhevsky 2014)"),
    torchvision("squeezenet1_0", "squeezenet1_0-b66bff10.pth", SqueezeNet::V1_0.width(), |w, c| squeezenet(SqueezeNet::V1_0, w, c), "SqueezeNet of 8 fire modules (Iandola et al. 2016)"),
    torchvision("squeezenet1_1", "squeezenet1_1-b8a52dc0.pth", SqueezeNet::V1_1.width(), |w, c| squeezenet(SqueezeNet::V1_1, w, c), "SqueezeNet with fewer multiply-adds"),
    torchvision("googlenet", "googlenet-1378be20.pth", googlenet::WIDTH, googlenet, "GoogLeNet of 9 inception modules, with batch-norm (Szegedy et al. 2014)"),
    torchvision("inception_v3", "inception_v3_google-0cc3c7bd.pth", inception_v3::WIDTH, inception_v3, "Inception-v3, 1x7 and 7x1 kernels, 299x299 images (Szegedy et al. 2015)"),
    imagenet("densenet121",    "a639ec97", |w, c| densenet(121, w, c),       "DenseNet of 58 dense layers (Huang et al. 2016)"),
    imagenet("densenet169",    "b2777c0a", |w, c| densenet(169, w, c),       "DenseNet of 82 dense layers"),
    imagenet("densenet201",    "c1103571", |w, c| densenet(201, w, c),       "DenseNet of 98 dense layers"),
    torchvision("mobilenet_v2", "mobilenet_v2-b0353104.pth", mobilenet_v2::WIDTH, mobilenet_v2, "MobileNet v2, 17 inverted residuals (Sandler et al. 2018)"),
    keras("keras-vgg16",        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5", vgg::WIDTH, |w, c| keras_vgg(16, w, c), "VGG-16 of Keras"),
    keras("keras-vgg19",        "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5", vgg::WIDTH, |w, c| keras_vgg(19, w, c), "VGG-19 of Keras"),
    keras("keras-resnet50",     "resnet/resnet50_weights_tf_dim_ordering_tf_kernels.h5", resnet::WIDTH, |w, c| keras_resnet(50, w, c), "ResNet-50 of Keras, stride on the first 1x1, with biases"),
    keras("keras-resnet101",    "resnet/resnet101_weights_tf_dim_ordering_tf_kernels.h5", resnet::WIDTH, |w, c| keras_resnet(101, w, c), "ResNet-101 of Keras"),
    keras("keras-resnet152",    "resnet/resnet152_weights_tf_dim_ordering_tf_kernels.h5", resnet::WIDTH, |w, c| keras_resnet(152, w, c), "ResNet-152 of Keras"),
    keras("keras-resnet50v2",   "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels.h5", resnet::WIDTH, |w, c| keras_resnet_v2(50, w, c), "ResNet-50 v2 of Keras, batch-norm and ReLU before each convolution (He et al. 2016)"),
    keras("keras-resnet101v2",  "resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels.h5", resnet::WIDTH, |w, c| keras_resnet_v2(101, w, c), "ResNet-101 v2 of Keras"),
    keras("keras-resnet152v2",  "resnet/resnet152v2_weights_tf_dim_ordering_tf_kernels.h5", resnet::WIDTH, |w, c| keras_resnet_v2(152, w, c), "ResNet-152 v2 of Keras"),
    keras("keras-inception_v3", "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5", inception_v3::WIDTH, keras_inception_v3, "Inception-v3 of Keras, 299x299 images"),
    keras("keras-xception",     "xception/xception_weights_tf_dim_ordering_tf_kernels.h5", keras::XCEPTION_WIDTH, keras_xception, "Xception, 34 separable convolutions, 299x299 images (Chollet 2016)"),
    keras("keras-mobilenet",    "mobilenet/mobilenet_1_0_224_tf.h5", mobilenet::WIDTH, keras_mobilenet, "MobileNet v1 of Keras; -w8, -w16 and -w24 are its alpha of 0.25, 0.5 and 0.75"),
    keras("keras-mobilenet_v2", "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5", mobilenet_v2::WIDTH, keras_mobilenet_v2, "MobileNet v2 of Keras"),
    keras("keras-densenet121",  "densenet/densenet121_weights_tf_dim_ordering_tf_kernels.h5", densenet::WIDTH, |w, c| keras_densenet(121, w, c), "DenseNet-121 of Keras"),
    keras("keras-densenet169",  "densenet/densenet169_weights_tf_dim_ordering_tf_kernels.h5", densenet::WIDTH, |w, c| keras_densenet(169, w, c), "DenseNet-169 of Keras"),
    keras("keras-densenet201",  "densenet/densenet201_weights_tf_dim_ordering_tf_kernels.h5", densenet::WIDTH, |w, c| keras_densenet(201, w, c), "DenseNet-201 of Keras"),
    Entry {
        name: "mobilenetv1_100",
        about: "MobileNet v1 at full width, 13 depthwise separable convolutions (Howard et al. 2017)",
        classes: Classes::ImageNet1k,
        pretrained: Publisher::Nobody,
        width: mobilenet::WIDTH,
        build: mobilenet_v1,
    },
    Entry {
        name: "chollet-convnet",
        about: "4 convolutions and 2 dense layers for cats and dogs, one sigmoid, 150x150 images (Chollet 2017)",
        classes: Classes::CatsDogs,
        pretrained: Publisher::Nobody,
        width: chollet::WIDTH,
        build: chollet_convnet,
    },
    Entry {
        name: "small",
        about: "plain CNN for own data: 4 convolutions with batch-norm, 2 dense layers, 64x64 images",
        classes: Classes::Count(10),
        pretrained: Publisher::Nobody,
        width: 32,
        build: |width, classes| {
            let channels = [1, 2, 4, 4].map(|times| times * width).to_vec();
            let network = small(&SmallConfig { channels, classes, ..SmallConfig::default() })?;
            Ok(Network { name: sized(network.name, width, 32), ..network })
        },
    },
];

/// The network `name`, with `classes` classes or (`None`) those of its usual data set. Case and punctuation do not matter:
/// `VGG16-BN` is `vgg16_bn`. The suffix `-wN` sets the channels of the first convolution and scales all others in proportion:
/// `resnet18-w32`.
///
/// ```
/// use convscope_models::families;
///
/// let network = families::build("resnet18-w32", Some(10))?;
/// assert_eq!(network.classes.len(), 10);
/// assert_eq!(network.params()[0].shape, [32, 3, 7, 7]);
/// assert!(families::build("resnet19", None).unwrap_err().to_string().contains("resnet18"));
/// # Ok::<(), convscope_models::network::NetworkError>(())
/// ```
///
/// # Errors
/// [`NetworkError::UnknownNetwork`] with the nearest names; [`NetworkError::Config`] without classes.
pub fn build(name: &str, classes: Option<usize>) -> Result<Network, NetworkError> {
    let (entry, width) = find(name)?;
    (entry.build)(width, classes.map_or(entry.classes.clone(), Classes::Count))
}

/// Source of published weights of the network `name`; `None` if there are none.
///
/// # Errors
/// [`NetworkError::UnknownNetwork`] with the nearest names.
pub fn pretrained(name: &str) -> Result<Option<Pretrained>, NetworkError> {
    let (entry, width) = find(name)?;
    Ok(if width == entry.width { entry.pretrained() } else { None })
}

/// The names for [`build`].
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// Metadata of every network of the register.
///
/// # Errors
/// [`NetworkError`] if one cannot be built; a test covers all.
pub fn list() -> Result<Vec<Known>, NetworkError> {
    let known = |entry: &Entry| {
        let network = (entry.build)(entry.width, entry.classes.clone())?;
        Ok(Known {
            name: entry.name,
            about: entry.about,
            parameters: network.parameter_count(),
            input: network.input,
            classes: network.classes,
            pretrained: entry.pretrained(),
        })
    };
    ENTRIES.iter().map(known).collect()
}

/// Register entry and width of a name.
fn find(name: &str) -> Result<(&'static Entry, usize), NetworkError> {
    let known = |name: &str| ENTRIES.iter().find(|entry| letters(entry.name) == letters(name));
    let sized = || {
        let (base, width) = name.rsplit_once("-w")?;
        Some((known(base)?, width.parse().ok().filter(|w| (1..=WIDEST).contains(w))?))
    };
    let found = known(name).map(|entry| (entry, entry.width)).or_else(sized);
    found.ok_or_else(|| NetworkError::UnknownNetwork { name: name.to_owned(), near: nearest(name, names(), 3) })
}

/// Name of a network at `width`, as [`build`] takes it.
fn sized(name: String, width: usize, usual: usize) -> String {
    if width == usual { name } else { format!("{name}-w{width}") }
}
