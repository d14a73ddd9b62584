"""What is recorded of a folder; what is said is tested where folders are opened."""

from PIL import Image

from tlcore.data.image_folder import image_folder
from tlcore.data.notes import record


def test_a_record_counts_what_was_done_and_what_is_left_out(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("LA", (4, 4)).save(folder / "a" / "000.png", exif=exif)
    (folder / "b" / "000.png").write_bytes(b"")
    (folder / "b" / "notes.txt").touch()
    opened = image_folder(folder, image_size=4, skip_bad=True)
    assert record(opened) == {
        "images": 7,
        "fingerprint": opened.fingerprint,
        "converted": {"grey with alpha": 1},
        "rotated": 1,
        "composed": 1,
        "first_frames": 0,
        "left_out": {".txt": 1},
        "skipped": [[str(folder / "b" / "000.png"), "empty file"]],
    }
