//! Draws the view.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::super::layout::{self, Pane};
use super::super::pane;
use super::App;

impl App {
    /// Draws everything.
    pub fn draw(&mut self, frame: &mut Frame) {
        self.is_dirty = false;
        let area = frame.area();
        let buffer = frame.buffer_mut();
        if layout::is_too_small(area) {
            self.places.clear();
            pane::too_small(buffer, area);
            return;
        }
        let has_mistake = self
            .typing
            .as_ref()
            .is_some_and(|line| line.mistake().is_some());
        let screen = layout::screen(area, self.message.is_some() || has_mistake);
        pane::header::draw(self, screen.header, buffer);
        pane::status::draw(self, screen.status, buffer);
        let overlay = self.overlay.take();
        match &overlay {
            Some(overlay) => {
                let notes = pane::overlay::notes(self, overlay);
                self.places.clear();
                self.heights[Pane::Detail as usize] =
                    usize::from(screen.body.height).saturating_sub(1);
                let title = pane::overlay::title(overlay);
                self.overlay_offset = pane::notes::draw(
                    self,
                    screen.body,
                    buffer,
                    title,
                    &notes,
                    self.overlay_offset,
                );
            }
            None => self.draw_panes(screen.body, buffer),
        }
        self.overlay = overlay;
        if let Some(area) = screen.message {
            pane::footer::draw_message(self, area, buffer);
        }
        if let Some(cursor) = pane::footer::draw(self, screen.footer, buffer) {
            frame.set_cursor_position(cursor);
        }
    }

    pub(super) fn draw_panes(&mut self, body: Rect, buffer: &mut ratatui::buffer::Buffer) {
        self.places = layout::places(body, self.scope, self.focus, self.is_zoomed);
        for (pane, area) in self.places.clone() {
            let height = usize::from(area.height).saturating_sub(pane.rows_above());
            self.heights[pane as usize] = height;
            let offset = match pane {
                Pane::Detail => self.offsets[pane as usize],
                _ => self.scrolled(pane, height),
            };
            let offset = match pane {
                Pane::Timeline => {
                    pane::timeline::draw(self, area, buffer);
                    0
                }
                Pane::Processes => {
                    pane::processes::draw(self, area, buffer, offset);
                    offset
                }
                Pane::Destinations => {
                    pane::destinations::draw(self, area, buffer, offset);
                    offset
                }
                Pane::Events => {
                    pane::events::draw(self, area, buffer, offset);
                    offset
                }
                Pane::Findings => {
                    pane::findings::draw(self, area, buffer, offset);
                    offset
                }
                Pane::Detail => pane::detail::draw(self, area, buffer, offset),
            };
            self.offsets[pane as usize] = offset;
        }
    }

    /// The first visible row: the selected one is visible, and no room is left below the last.
    pub(super) fn scrolled(&self, pane: Pane, height: usize) -> usize {
        let (index, length) = (self.index(pane), self.length(pane));
        self.offsets[pane as usize]
            .min(length.saturating_sub(height))
            .min(index)
            .max((index + 1).saturating_sub(height))
    }
}
