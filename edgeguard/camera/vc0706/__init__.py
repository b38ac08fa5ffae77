"""VC0706 serial cameras: the command protocol and the source."""
