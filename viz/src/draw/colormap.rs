//! Colour maps from [0, 1] to RGB.

use super::DrawError;
use convscope_models::text::nearest;
use std::fmt;
use std::str::FromStr;

/// Colour of NaN: a grey that no map but [`Colormap::Grey`] contains.
pub const NAN_COLOR: [u8; 3] = [0x99, 0x99, 0x99];

/// A colour map.
///
/// The perceptual maps (matplotlib's family, Google's turbo) are the default. The two jets reproduce other tools' pictures; they
/// show bands that are not in the data.
///
/// ```
/// use convscope_viz::draw::Colormap;
/// assert_eq!(Colormap::Grey.rgb(1.0), [255; 3]);
/// assert_eq!("viridis".parse::<Colormap>()?, Colormap::Viridis);
/// # Ok::<_, convscope_viz::draw::DrawError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colormap {
    /// Dark blue to yellow: data of one sign.
    Viridis,
    /// Black over purple to cream.
    Magma,
    /// Black over red to yellow: heat maps.
    Inferno,
    /// Blue over pink to yellow.
    Plasma,
    /// Blue to red rainbow without jet's false bands.
    Turbo,
    /// Blue to yellow, suitable for all kinds of colour vision.
    Cividis,
    /// Black to white.
    Grey,
    /// Diverging: 0 is red (against), 0.5 white, 1 blue (for).
    RdBu,
    /// `cv2.COLORMAP_JET` with its 256 entries; the index is `trunc(255 t)`, as in `np.uint8(255 * heat)`.
    JetOpencv,
    /// matplotlib's `jet` with its 256 entries; the index is `trunc(256 t)`.
    JetMatplotlib,
}

/// ColorBrewer's 11-class RdBu with a white middle, so that zero is blank.
const RD_BU: [[u8; 3]; 11] = [
    [103, 0, 31],
    [178, 24, 43],
    [214, 96, 77],
    [244, 165, 130],
    [253, 219, 199],
    [255, 255, 255],
    [209, 229, 240],
    [146, 197, 222],
    [67, 147, 195],
    [33, 102, 172],
    [5, 48, 97],
];

impl Colormap {
    /// All maps, in the order of the help text.
    pub const ALL: [Colormap; 10] = [
        Colormap::Viridis,
        Colormap::Magma,
        Colormap::Inferno,
        Colormap::Plasma,
        Colormap::Turbo,
        Colormap::Cividis,
        Colormap::Grey,
        Colormap::RdBu,
        Colormap::JetOpencv,
        Colormap::JetMatplotlib,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Colormap::Viridis => "viridis",
            Colormap::Magma => "magma",
            Colormap::Inferno => "inferno",
            Colormap::Plasma => "plasma",
            Colormap::Turbo => "turbo",
            Colormap::Cividis => "cividis",
            Colormap::Grey => "grey",
            Colormap::RdBu => "rdbu",
            Colormap::JetOpencv => "jet-opencv",
            Colormap::JetMatplotlib => "jet-matplotlib",
        }
    }

    /// Whether the middle stands for zero and ranges are symmetric.
    pub fn is_diverging(self) -> bool {
        self == Colormap::RdBu
    }

    /// The colour of `t`, clamped to [0, 1]; [`NAN_COLOR`] for NaN.
    pub fn rgb(self, t: f32) -> [u8; 3] {
        if t.is_nan() {
            return NAN_COLOR;
        }
        let t = t.clamp(0.0, 1.0);
        let gradient = match self {
            Colormap::Viridis => colorous::VIRIDIS,
            Colormap::Magma => colorous::MAGMA,
            Colormap::Inferno => colorous::INFERNO,
            Colormap::Plasma => colorous::PLASMA,
            Colormap::Turbo => colorous::TURBO,
            Colormap::Cividis => colorous::CIVIDIS,
            Colormap::Grey => return [(t * 255.0).round() as u8; 3],
            Colormap::RdBu => return piecewise(&RD_BU, t),
            Colormap::JetOpencv => return jet_opencv((255.0 * t) as u8),
            Colormap::JetMatplotlib => return jet_matplotlib((256.0 * t) as u8), // the cast saturates: 1.0 is entry 255
        };
        gradient.eval_continuous(f64::from(t)).into_array()
    }
}

/// Linear interpolation between evenly spaced colours.
fn piecewise(stops: &[[u8; 3]], t: f32) -> [u8; 3] {
    let x = t * (stops.len() - 1) as f32;
    let i = (x as usize).min(stops.len() - 2);
    let f = x - i as f32;
    std::array::from_fn(|c| {
        let (a, b) = (f32::from(stops[i][c]), f32::from(stops[i + 1][c]));
        (a + (b - a) * f).round() as u8
    })
}

/// Entry `i` of OpenCV's jet: the MATLAB ramps of slope 4 over 256 entries.
pub(crate) fn jet_opencv(i: u8) -> [u8; 3] {
    let i = i32::from(i);
    let red = if i < 160 { 4 * (i - 96) + 2 } else { 4 * (287 - i) };
    let green = if i < 128 { 4 * (i - 32) } else { 4 * (223 - i) };
    // OpenCV's table deviates from its ramp at entry 159, where blue is 1 instead of 2.
    let blue = match i {
        0..96 => 4 * (i + 32),
        159 => 1,
        _ => 4 * (159 - i) + 2,
    };
    // Below entry 96 the red ramp is negative: clamped to 0 like the others.
    [red, green, blue].map(|v| v.clamp(0, 255) as u8)
}

/// Entry `i` of matplotlib's jet: three piecewise linear functions, truncated to 8 bits.
fn jet_matplotlib(i: u8) -> [u8; 3] {
    const RED: [(f64, f64); 5] = [(0.0, 0.0), (0.35, 0.0), (0.66, 1.0), (0.89, 1.0), (1.0, 0.5)];
    const GREEN: [(f64, f64); 6] = [(0.0, 0.0), (0.125, 0.0), (0.375, 1.0), (0.64, 1.0), (0.91, 0.0), (1.0, 0.0)];
    const BLUE: [(f64, f64); 5] = [(0.0, 0.5), (0.11, 1.0), (0.34, 1.0), (0.65, 0.0), (1.0, 0.0)];
    // matplotlib's order of operations, as truncation exposes the last bit.
    let x = f64::from(i) * (1.0 / 255.0) * 255.0;
    let at = |points: &[(f64, f64)]| {
        let k = points.partition_point(|p| p.0 * 255.0 < x).clamp(1, points.len() - 1);
        let ((x0, y0), (x1, y1)) = (points[k - 1], points[k]);
        let (x0, x1) = (x0 * 255.0, x1 * 255.0);
        (((x - x0) / (x1 - x0) * (y1 - y0) + y0) * 255.0) as u8
    };
    [at(&RED), at(&GREEN), at(&BLUE)]
}

impl fmt::Display for Colormap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Colormap {
    type Err = DrawError;

    /// Accepts the names of [`Colormap::name`] in any case, and `gray`.
    fn from_str(s: &str) -> Result<Self, DrawError> {
        let wanted = s.to_lowercase();
        let wanted = if wanted == "gray" { "grey" } else { &wanted };
        if let Some(map) = Self::ALL.into_iter().find(|m| m.name() == wanted) {
            return Ok(map);
        }
        let names = Self::ALL.map(Colormap::name);
        let (near, known) = (nearest(wanted, names, 1).join(""), names.join(", "));
        Err(DrawError::Unknown(format!("unknown colour map \"{s}\"; nearest is {near}; known: {known}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of `cv2.applyColorMap(.., cv2.COLORMAP_JET)`, OpenCV 5.0, as RGB.
    #[test]
    fn jet_of_opencv() {
        let table = [
            (0, [0, 0, 128]),
            (1, [0, 0, 132]),
            (31, [0, 0, 252]),
            (32, [0, 0, 255]),
            (33, [0, 4, 255]),
            (63, [0, 124, 255]),
            (95, [0, 252, 255]),
            (96, [2, 255, 254]),
            (97, [6, 255, 250]),
            (127, [126, 255, 130]),
            (128, [130, 255, 126]),
            (159, [254, 255, 1]),
            (160, [255, 252, 0]),
            (191, [255, 128, 0]),
            (223, [255, 0, 0]),
            (224, [252, 0, 0]),
            (255, [128, 0, 0]),
        ];
        for (i, rgb) in table {
            assert_eq!(jet_opencv(i), rgb, "entry {i}");
        }
        // A checksum of the original table's 256 entries.
        let sum = (0..=255u8).fold(0u64, |s, i| jet_opencv(i).iter().fold(s, |s, &v| (s * 31 + u64::from(v)) % 1_000_003));
        assert_eq!(sum, JET_OPENCV_SUM);
        assert_eq!(Colormap::JetOpencv.rgb(0.5), jet_opencv(127));
    }
    const JET_OPENCV_SUM: u64 = 443447;

    /// Entries of `matplotlib.colormaps["jet"](i, bytes=True)`, matplotlib 3.11.
    #[test]
    fn jet_of_matplotlib() {
        let table = [
            (0, [0, 0, 127]),
            (1, [0, 0, 132]),
            (31, [0, 0, 255]),
            (63, [0, 124, 255]),
            (89, [0, 228, 247]),
            (95, [18, 252, 228]),
            (127, [121, 255, 125]),
            (160, [228, 255, 18]),
            (191, [255, 152, 0]),
            (223, [255, 33, 0]),
            (240, [195, 0, 0]),
            (255, [127, 0, 0]),
        ];
        for (i, rgb) in table {
            assert_eq!(jet_matplotlib(i), rgb, "entry {i}");
        }
        let sum = (0..=255u8).fold(0u64, |s, i| jet_matplotlib(i).iter().fold(s, |s, &v| (s * 31 + u64::from(v)) % 1_000_003));
        assert_eq!(sum, JET_MATPLOTLIB_SUM);
        assert_eq!(Colormap::JetMatplotlib.rgb(1.0), [127, 0, 0]);
        assert_eq!(Colormap::JetMatplotlib.rgb(0.5), jet_matplotlib(128));
    }
    const JET_MATPLOTLIB_SUM: u64 = 718799;

    #[test]
    fn ends_middle_and_nan() {
        assert_eq!(Colormap::RdBu.rgb(0.5), [255, 255, 255]);
        assert_eq!(Colormap::RdBu.rgb(1.0), [5, 48, 97]);
        assert_eq!(Colormap::RdBu.rgb(0.0), [103, 0, 31]);
        assert_eq!(Colormap::Viridis.rgb(0.0), [68, 1, 84]);
        assert_eq!(Colormap::Viridis.rgb(1.0), [253, 231, 37]);
        assert_eq!(Colormap::Grey.rgb(0.5), [128, 128, 128]);
        for map in Colormap::ALL {
            assert_eq!(map.rgb(f32::NAN), NAN_COLOR);
            assert_eq!(map.rgb(-3.0), map.rgb(0.0));
            assert_eq!(map.rgb(f32::INFINITY), map.rgb(1.0));
        }
    }

    #[test]
    fn names() {
        for map in Colormap::ALL {
            assert_eq!(map.name().to_uppercase().parse::<Colormap>().unwrap(), map);
        }
        assert_eq!("gray".parse::<Colormap>().unwrap(), Colormap::Grey);
        let message = "virdis".parse::<Colormap>().unwrap_err().to_string();
        assert!(message.contains("nearest is viridis") && !message.contains('\n'), "{message}");
    }
}
