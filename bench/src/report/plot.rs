//! The plot: for each scenario a panel with a bar for each proxy.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{DIRECT, GATEWAY, Report, Row};

/// Panels beside each other.
const COLUMNS: usize = 3;
const WIDTH: u32 = 960;
/// Of the title above the panels.
const TITLE: u32 = 46;
const PANEL_TITLE: i32 = 34;
const BAR: i32 = 22;
/// Room for names left of the bars, for figures right of them.
const NAMES: i32 = 84;
const FIGURES: i32 = 52;
const FONT: &str = "sans-serif";

/// Scenarios that are drawn, and what they are called.
const PANELS: &[(&str, &str)] = &[
    ("plain", "plain proxy, 1 KB"),
    ("jwt", "RS512 token, app id, limit"),
    ("jwt-rotate", "the same, 1,000 tokens"),
    ("jwt-cold", "the same, every token new"),
    ("bad-tokens", "401 on bad signatures"),
    ("tls", "the same over TLS 1.3"),
    ("h2", "plain, HTTP/2 streams"),
    ("routes-1000", "the same, 1,000 routes"),
    ("routes-10000", "the same, 10,000 routes"),
    ("handshakes", "full TLS handshakes"),
    ("down", "1 MB down"),
    ("up", "1 MB up"),
];

/// Colours by name; those of others follow in turn.
const COLOURS: &[(&str, RGBColor)] = &[
    (GATEWAY, RGBColor(0xd9, 0x48, 0x01)),
    ("nginx", RGBColor(0x31, 0x8c, 0x51)),
    ("nginx+lua", RGBColor(0x7f, 0xbf, 0x8e)),
    ("haproxy", RGBColor(0x4c, 0x78, 0xa8)),
    ("envoy", RGBColor(0x9d, 0x75, 0xb5)),
];
const OTHER: RGBColor = RGBColor(0x88, 0x88, 0x88);

/// Draws those panels that have more than one proxy.
pub(super) fn draw(report: &Report<'_>) -> Result<Option<String>> {
    let mut found: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in report.rows.iter().filter(|row| row.subject != DIRECT) {
        found.entry(&row.scenario).or_default().push(row);
    }
    for rows in found.values_mut() {
        // The gateway first.
        rows.sort_by_key(|row| row.subject != GATEWAY);
    }
    let panels: Vec<(&str, &Vec<&Row>)> = PANELS
        .iter()
        .filter_map(|(scenario, title)| Some((*title, found.get(scenario)?)))
        .filter(|(_, rows)| rows.len() > 1)
        .collect();
    let Some(most) = panels.iter().map(|(_, rows)| rows.len()).max() else { return Ok(None) };
    let height = PANEL_TITLE + BAR * i32::try_from(most)? + 12;
    let lines = panels.len().div_ceil(COLUMNS);
    let size = (WIDTH, TITLE + u32::try_from(height)? * u32::try_from(lines)?);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|why| anyhow!("{why}"))?;
        let title =
            "CPU microseconds of the proxy per request (less is better); (nginx) checks nothing";
        text(&root, title, (12, 24), 18.0, &BLACK, HPos::Left)?;
        let (_, below) = root.split_vertically(TITLE);
        let areas = below.split_evenly((lines, COLUMNS));
        for ((title, rows), area) in panels.iter().zip(&areas) {
            panel(area, title, rows)?;
        }
        root.present().map_err(|why| anyhow!("{why}"))?;
    }
    Ok(Some(svg))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(area: &Area<'_>, title: &str, rows: &[&Row]) -> Result<()> {
    text(area, title, (12, 14), 14.0, &BLACK, HPos::Left)?;
    let (width, _) = area.dim_in_pixel();
    let room = f64::from(i32::try_from(width)? - NAMES - FIGURES);
    let cost = |row: &Row| row.medians.cpu_us_per_request;
    let largest = rows.iter().map(|row| cost(row)).fold(0.0, f64::max);
    for (number, row) in rows.iter().enumerate() {
        let top = PANEL_TITLE + BAR * i32::try_from(number)?;
        let middle = top + BAR / 2 - 2;
        let length = (cost(row) / largest * room).round() as i32;
        let known = COLOURS.iter().find(|(name, _)| *name == row.subject);
        let colour = known.map_or(OTHER, |(_, colour)| *colour);
        // What does less than the others is drawn paler.
        let style = colour.mix(if row.unguarded { 0.35 } else { 1.0 }).filled();
        let bar = Rectangle::new([(NAMES, top), (NAMES + length, top + BAR - 5)], style);
        area.draw(&bar).map_err(|why| anyhow!("{why}"))?;
        let pale = format!("({})", row.subject);
        let name = if row.unguarded { &pale } else { &row.subject };
        text(area, name, (NAMES - 6, middle), 12.0, &BLACK, HPos::Right)?;
        let figure = format!("{:.1}", cost(row));
        text(area, &figure, (NAMES + length + 5, middle), 12.0, &BLACK, HPos::Left)?;
    }
    Ok(())
}

fn text(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    size: f64,
    colour: &RGBColor,
    side: HPos,
) -> Result<()> {
    let style =
        TextStyle::from((FONT, size).into_font()).color(colour).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(|why| anyhow!("{why}"))
}
