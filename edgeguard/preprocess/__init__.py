"""From a frame to the model's tensor: geometry, regions, resizing by area, DCT inputs, requantized JPEGs."""
