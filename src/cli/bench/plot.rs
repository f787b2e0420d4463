//! Decode speed over context depth, beside the bound that memory sets, as SVG.

use super::{
    super::exit::Failure,
    report::{Model, Record},
};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::path::Path;

const SIZE: (u32, u32) = (860, 520);
const INK: RGBColor = RGBColor(40, 44, 52);
const SPEED: RGBColor = RGBColor(31, 119, 180);
const BOUND: RGBColor = RGBColor(200, 80, 60);

/// Draws the decode tests among `records` to `path`.
pub fn draw(path: &Path, model: &Model, records: &[Record]) -> Result<(), Failure> {
    let decode: Vec<&Record> = records.iter().filter(|r| r.test.is_decode()).collect();
    if decode.is_empty() {
        return Err(Failure::because("nothing to plot", "no test decodes tokens; give -n"));
    }
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    chart(&area, model, &decode).map_err(|e| Failure::because("cannot draw the plot", e))?;
    drop(area);
    std::fs::write(path, svg)
        .map_err(|e| Failure::because(format_args!("cannot write {}", path.display()), e))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn chart(area: &Area, model: &Model, records: &[&Record]) -> Result<(), Box<dyn std::error::Error>> {
    let bound = |r: &Record, context: f64| r.read_rate / model.footprint.bytes_at(context);
    let last = records.iter().map(|r| r.test.n_positions()).max().unwrap_or(1) as f64;
    let highest = |r: &&Record| {
        let rate = r.token_rate().0;
        if r.is_cached { rate } else { rate.max(bound(r, 0.0)) }
    };
    let top = records.iter().map(highest).fold(0.0, f64::max);
    area.fill(&WHITE)?;
    let title = format!("{} {}: decode speed over context", model.name, model.footprint.dtype);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20, &INK))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..last, 0.0..top * 1.15)?;
    chart
        .configure_mesh()
        .x_desc("tokens in the context")
        .y_desc("tokens per second")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style(("sans-serif", 14, &INK))
        .axis_desc_style(("sans-serif", 15, &INK))
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.12))
        .draw()?;

    let mut threads: Vec<usize> = records.iter().map(|r| r.n_threads).collect();
    threads.dedup();
    for (i, &n_threads) in threads.iter().enumerate() {
        let of = || records.iter().filter(|r| r.n_threads == n_threads);
        let Some(first) = of().next() else { continue };
        let (speed, bound_colour) = (SPEED.mix(1.0 - 0.25 * i as f64), BOUND.mix(1.0 - 0.25 * i as f64));
        let step = last / 64.0;
        let line = (0..=64).map(|i| (i as f64 * step, bound(first, i as f64 * step)));
        let read = format!("memory bound: {:.1} GB/s, {n_threads} threads", first.read_rate / 1e9);
        if !first.is_cached {
            chart
                .draw_series(DashedLineSeries::new(line, 7, 5, bound_colour.stroke_width(2)))?
                .label(read)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], bound_colour.stroke_width(2)));
        }
        let measured = if first.is_cached { "measured" } else { "measured, % of the bound" };
        let point = |r: &&Record| (r.test.mean_context(), r.token_rate());
        chart
            .draw_series(LineSeries::new(of().map(|r| (point(r).0, point(r).1.0)), speed.stroke_width(2)))?
            .label(format!("{measured}: {}", first.backend))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], speed.stroke_width(2)));
        chart.draw_series(of().map(|r| {
            let (x, (mean, deviation)) = point(r);
            ErrorBar::new_vertical(x, mean - deviation, mean, mean + deviation, speed.filled(), 8)
        }))?;
        let style = ("sans-serif", 13, &INK).into_text_style(area).pos(Pos::new(HPos::Center, VPos::Top));
        chart.draw_series(of().filter(|r| !r.is_cached).map(|r| {
            let (x, (mean, _)) = point(r);
            let share = 100.0 * mean / bound(r, x);
            EmptyElement::at((x, mean)) + Text::new(format!("{share:.0} %"), (0, 10), style.clone())
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .margin(18)
        .background_style(WHITE.mix(0.9))
        .border_style(INK.mix(0.3))
        .label_font(("sans-serif", 14, &INK))
        .draw()?;
    area.present()?;
    Ok(())
}
