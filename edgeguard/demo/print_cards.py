"""The cards as a PDF to print: A4, two cards of 120 mm a page, in true millimetres."""

import io

import numpy as np

from edgeguard.scene.cards import CARDS, draw_card

CARD_MM = 120
_PAGE_MM = (210, 297)
_DPI = 200
_SCALE_BAR_MM = 100


def cards_pdf() -> bytes:
    """The PDF's bytes: each card with its name and a cutting line, on each page a 100 mm bar to check the scale."""
    from PIL import Image, ImageDraw, ImageFont

    def pixels(millimetres: float) -> int:
        return round(millimetres / 25.4 * _DPI)

    font = ImageFont.load_default(pixels(4))
    pages = []
    for first in range(0, len(CARDS), 2):
        page = Image.new("RGB", (pixels(_PAGE_MM[0]), pixels(_PAGE_MM[1])), "white")
        draw = ImageDraw.Draw(page)
        side, left = pixels(CARD_MM), pixels((_PAGE_MM[0] - CARD_MM) / 2)
        for place, name in enumerate(CARDS[first : first + 2]):
            top = pixels(14 + place * (CARD_MM + 14))
            card = Image.fromarray(np.asarray(draw_card(name))).resize((side, side), Image.Resampling.LANCZOS)
            page.paste(card, (left, top))
            draw.rectangle((left, top, left + side, top + side), outline=(170, 170, 170))
            draw.text((left, top + side + pixels(1)), f"{name} - EdgeGuard card, {CARD_MM} mm", fill="black", font=font)
        bar = pixels(_PAGE_MM[1] - 10)
        draw.line((left, bar, left + pixels(_SCALE_BAR_MM), bar), fill="black", width=pixels(0.5))
        draw.text((left, bar - pixels(6)), f"{_SCALE_BAR_MM} mm: print at 100 %", fill="black", font=font)
        pages.append(page)
    buffer = io.BytesIO()
    pages[0].save(buffer, "PDF", save_all=True, append_images=pages[1:], resolution=_DPI, quality=92)
    return buffer.getvalue()
