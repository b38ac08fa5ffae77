"""The JPEG file format, without any defense: headers, tables, blocks, seals, decoding."""
