//! Draws scenes by tiny-skia.

use resvg::tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Transform};

use crate::decode::{Notes, Picture};
use crate::kind::Kind;
use crate::scenes::{SIDE, Shape, Thing};
use crate::{Result, Unusable};

/// Width of the lines between the pictures of a collage, in pixels.
const LINE: f32 = 2.0;

/// Draws a scene, with lines between its quarters if it is a collage of four pictures.
///
/// # Errors
/// When a shape has no area.
pub fn picture(things: &[Thing], tiles: bool) -> Result<Picture> {
    let lost = || Unusable::new("a shape of the scene has no area");
    let mut pixmap = Pixmap::new(SIDE, SIDE).ok_or_else(lost)?;
    pixmap.fill(Color::WHITE);
    if tiles {
        let (side, start) = (SIDE as f32, (SIDE as f32 - LINE) / 2.0);
        for rect in [Rect::from_xywh(start, 0.0, LINE, side), Rect::from_xywh(0.0, start, side, LINE)] {
            pixmap.fill_rect(rect.ok_or_else(lost)?, &Paint::default(), Transform::identity(), None);
        }
    }
    for thing in things {
        let [r, g, b] = thing.colour.rgb();
        let mut paint = Paint { anti_alias: true, ..Paint::default() };
        paint.set_color_rgba8(r, g, b, 255);
        let path = path(thing).ok_or_else(lost)?;
        pixmap.fill_path(&path, &paint, FillRule::Winding, Transform::identity(), None);
    }
    let rgb = pixmap.data().as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
    Ok(Picture { width: SIDE, height: SIDE, rgb, kind: Kind::Png, notes: Notes::default() })
}

fn path(thing: &Thing) -> Option<Path> {
    let Thing { x, y, radius: r, .. } = *thing;
    match thing.shape {
        Shape::Circle => PathBuilder::from_circle(x, y, r),
        Shape::Square => Some(PathBuilder::from_rect(Rect::from_xywh(x - 0.85 * r, y - 0.85 * r, 1.7 * r, 1.7 * r)?)),
        Shape::Triangle => polygon(&[(x, y - r), (x + r, y + 0.8 * r), (x - r, y + 0.8 * r)]),
        Shape::Star => {
            let corner = |i: u8| {
                let angle = f32::from(i) * std::f32::consts::PI / 5.0 - std::f32::consts::FRAC_PI_2;
                let length = if i.is_multiple_of(2) { r } else { 0.42 * r };
                (x + length * angle.cos(), y + length * angle.sin())
            };
            polygon(&(0..10).map(corner).collect::<Vec<_>>())
        }
        Shape::Cross => {
            let a = 0.32 * r;
            let corners = [
                (-a, -r),
                (a, -r),
                (a, -a),
                (r, -a),
                (r, a),
                (a, a),
                (a, r),
                (-a, r),
                (-a, a),
                (-r, a),
                (-r, -a),
                (-a, -a),
            ];
            polygon(&corners.map(|(dx, dy)| (x + dx, y + dy)))
        }
    }
}

fn polygon(corners: &[(f32, f32)]) -> Option<Path> {
    let mut builder = PathBuilder::new();
    for (i, &(x, y)) in corners.iter().enumerate() {
        if i == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
    }
    builder.close();
    builder.finish()
}
