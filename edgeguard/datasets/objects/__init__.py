"""Pictures with boxes around objects: COCO-style and YOLO-style folders, read in one way."""

from edgeguard.datasets.objects.annotated import AnnotatedFolder, AnnotatedImage, TrueBox, annotated_folder

__all__ = ["AnnotatedFolder", "AnnotatedImage", "TrueBox", "annotated_folder"]
