//! Links as QR codes on a terminal.

use qrcode::render::unicode;
use qrcode::{EcLevel, QrCode};

/// A link for a camera; nothing for one that is too long. Links are read whatever the case of their letters, and capitals
/// make a smaller code.
pub fn qr_code(link: &str) -> String {
    // A screen is never dirty: the least correction makes the smallest code.
    let qr = QrCode::with_error_correction_level(link.to_uppercase().as_bytes(), EcLevel::L).ok();
    qr.map(|qr| qr.render::<unicode::Dense1x2>().build()).unwrap_or_default()
}
