//! Draws one of every kind of figure from made-up numbers: `cargo run --example draw_gallery -- FOLDER [PHOTO]`.

use convscope_viz::draw::png::{Metadata, save};
use convscope_viz::draw::{
    Bar, BarList, Cell, Colormap, Figure, Grid, Limits, Order, Overlay, Panel, Panels, Pixels, Range, RangeScope, ScaleBar,
    Theme, deprocess, tile,
};
use convscope_viz::{Map, MapError};
use image::RgbImage;
use std::path::{Path, PathBuf};

/// A smooth pattern that depends on `seed`, as feature maps do; every ninth is dead.
fn pattern(seed: usize, h: usize, w: usize) -> Vec<f32> {
    let (a, b) = ((seed * 37 % 101) as f32 / 101.0 * 6.3, (seed * 61 % 89) as f32 / 89.0);
    let value = |i: usize| {
        let (y, x) = ((i / w) as f32 / h as f32, (i % w) as f32 / w as f32);
        let wave = ((x * a.cos() + y * a.sin()) * (8.0 + 14.0 * b)).sin();
        let spot = (-((x - b).powi(2) + (y - 0.5).powi(2)) * 9.0).exp();
        (wave * 1.2 + spot * 3.0).max(0.0) * (0.3 + b)
    };
    if seed % 9 == 5 { vec![0.0; h * w] } else { (0..h * w).map(value).collect() }
}

/// A stand-in photo: a lit ball over a floor.
fn scene(w: u32, h: u32) -> RgbImage {
    RgbImage::from_fn(w, h, |x, y| {
        let (u, v) = (x as f32 / w as f32 - 0.6, y as f32 / h as f32 - 0.45);
        let r = u.hypot(v * h as f32 / w as f32);
        let lit = (1.0 - 2.5 * (u + 0.1).hypot(v + 0.1)).clamp(0.1, 1.0) * 255.0;
        image::Rgb(if r < 0.2 {
            [lit as u8, (lit * 0.6) as u8, 40]
        } else if v > 0.2 {
            [110, 140, 90]
        } else {
            [150, 180, 215]
        })
    })
}

fn heat(h: usize, w: usize, sign: f32) -> Result<Map, MapError> {
    let value = |i: usize| {
        let (y, x) = ((i / w) as f32 / (h - 1) as f32, (i % w) as f32 / (w - 1) as f32);
        let at = |cx: f32, cy: f32, s: f32| (-((x - cx).powi(2) + (y - cy).powi(2)) * s).exp();
        at(0.6, 0.45, 14.0) + sign * 0.7 * at(0.15, 0.8, 30.0)
    };
    Map::new((0..h * w).map(value).collect(), h, w)
}

fn bars(target: usize) -> Option<BarList> {
    let top = [
        ("tabby cat", 0.831),
        ("tiger cat", 0.0942),
        ("Egyptian cat", 0.0513),
        ("remote control, remote", 0.0072),
        ("sleeping bag", 0.0031),
    ];
    let bars = top.iter().enumerate().map(|(i, (l, v))| Bar { label: (*l).into(), value: *v, target: i == target });
    Some(BarList { heading: "Top 5 classes".into(), bars: bars.collect(), full: 1.0 })
}

fn heat_panels<'a>(photo: &'a RgbImage, map: &'a Map, style: Overlay) -> Vec<Panel<'a>> {
    vec![
        Panel::Picture { caption: "Input".into(), picture: photo },
        Panel::Heat {
            caption: "Heat map".into(),
            map,
            colormap: Colormap::Inferno,
            range: None,
            quantity: "evidence for the class".into(),
        },
        Panel::Overlay { caption: "Overlay".into(), photo, map, style, contours: matches!(style, Overlay::Proportional(_)) },
    ]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("usage: draw_gallery FOLDER [PHOTO]")?;
    let photo = match arguments.next() {
        Some(path) => image::open(path)?.to_rgb8(),
        None => scene(500, 375),
    };
    let write = |name: &str, picture: &RgbImage| {
        let metadata = Metadata { title: name.into(), ..Metadata::default() };
        save(&folder.join(Path::new(name).with_extension("png")), picture, &metadata)
    };
    let figure = |title: &str| Figure::new(title).metadata("seed 0 · made-up numbers · convscope");

    // Feature maps: shared scale, and each on its own.
    let maps: Vec<Vec<f32>> = (0..600).map(|i| pattern(i, 14, 14)).collect();
    let cells = |n: usize| -> Vec<Cell> {
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        let numbered = maps.iter().take(n).enumerate();
        numbered
            .map(|(i, values)| Cell {
                label: format!("#{i}"),
                value: Some(mean(values)),
                pixels: Pixels::Map { values, h: 14, w: 14 },
            })
            .collect()
    };
    let title = "Feature maps · vgg16 · block4_conv1";
    for n in [5, 16, 61] {
        let page = figure(title).subtitle(format!("{n} channels, 14 × 14")).grid(&Grid::new(cells(n)))?;
        write(&format!("features_{n}"), &page[0])?;
    }
    let per_image = Grid { scope: RangeScope::PerImage, colormap: Colormap::Magma, ..Grid::new(cells(30)) };
    write("features_dark", &figure(title).theme(Theme::dark()).grid(&per_image)?[0])?;
    for (i, page) in figure(title).subtitle("600 channels, 14 × 14").grid(&Grid::new(cells(600)))?.iter().enumerate() {
        write(&format!("features_page{i}"), page)?;
    }

    // First-layer filters on one symmetric scale; slices of a later layer on a diverging map.
    let weights: Vec<Vec<f32>> = (0..64).map(|i| pattern(2 * i, 21, 7).iter().map(|v| v * 0.1 - 0.08).collect()).collect();
    let range = Limits::Symmetric.range(weights.iter().flatten()).ok_or("no range")?;
    let pictures = weights.iter().map(|w| deprocess::signed(w, 7, 7, range)).collect::<Result<Vec<_>, _>>()?;
    let rgb = |(i, p)| Cell { label: format!("#{i}"), value: None, pixels: Pixels::Picture(p) };
    let mut filters = Grid::new(pictures.iter().enumerate().map(rgb).collect());
    filters.picture_scale = Some(ScaleBar::new(Colormap::Grey, Some(range), "weight in each of R, G, B"));
    write("filters_rgb", &figure("First-layer filters · resnet50 · conv1").grid(&filters)?[0])?;
    let slices = weights.iter().take(24).enumerate().map(|(i, w)| Cell {
        label: format!("#{i}"),
        value: Some(w[0]),
        pixels: Pixels::Map { values: &w[..9], h: 3, w: 3 },
    });
    let slices =
        Grid { colormap: Colormap::RdBu, limits: Limits::Symmetric, quantity: "weight".into(), ..Grid::new(slices.collect()) };
    write("filters_slices", &figure("Filters · vgg16 · block4_conv1 · input channel 0").grid(&slices)?[0])?;

    // The stitched grid of a book, without any text.
    write("plain_chollet1", &tile(&pictures, 8, 8, 5, Order::ColumnMajor)?)?;

    // Heat maps: a large photo, a tall one, a tiny one; signed; nothing found; the looks of other tools.
    let values = heat(7, 7, 1.0)?;
    let style = Overlay::Proportional(Colormap::Inferno);
    let cam = "Grad-CAM · vgg16 · block5_conv3 · tabby cat (281) p=.831";
    let page = |photo: &RgbImage, map: &Map, style: Overlay, figure: Figure| {
        figure.panels(&Panels { panels: heat_panels(photo, map, style), bars: bars(0) })
    };
    write("gradcam", &page(&photo, &values, style, figure(cam))?)?;
    write("gradcam_dark", &page(&photo, &values, style, figure(cam).theme(Theme::dark()))?)?;
    write("gradcam_turbo", &page(&photo, &values, Overlay::Proportional(Colormap::Turbo), figure(cam))?)?;
    write("gradcam_tall", &page(&scene(300, 800), &values, style, figure(cam))?)?;
    let tiny = image::imageops::resize(&photo, 32, 32, image::imageops::FilterType::Triangle);
    write("gradcam_cifar", &page(&tiny, &heat(8, 8, 1.0)?, style, figure(cam))?)?;
    let nothing =
        figure(cam).warning("No positive evidence for this class: every contribution is zero or negative (minimum −2.31).");
    write("gradcam_nothing", &page(&photo, &Map::new(vec![0.0; 49], 7, 7)?, style, nothing)?)?;
    for (name, style) in
        [("chollet1", Overlay::Chollet1), ("pytorch", Overlay::Pytorch), ("blend", Overlay::Blend(Colormap::Turbo, 0.5))]
    {
        write(&format!("gradcam_{name}"), &page(&photo, &values, style, figure(cam))?)?;
    }
    let signed = heat(14, 14, -1.0)?;
    let signed = Panel::Heat {
        caption: "Contributions".into(),
        map: &signed,
        colormap: Colormap::RdBu,
        range: None,
        quantity: String::new(),
    };
    let panels = Panels { panels: vec![Panel::Picture { caption: "Input".into(), picture: &photo }, signed], bars: bars(2) };
    write("signed", &figure("Contributions · vgg16 · block5_conv3 · Egyptian cat (285) p=.051").panels(&panels)?)?;

    // All colour maps.
    let maps = Colormap::ALL.map(|m| ScaleBar { length: 420, ..ScaleBar::new(m, Some(Range { lo: -1.0, hi: 1.0 }), m.name()) });
    let blocks: Vec<&dyn convscope_viz::draw::Block> = maps.iter().map(|m| m as _).collect();
    write("colormaps", &figure("Colour maps").stack(&blocks)?)?;
    Ok(())
}
