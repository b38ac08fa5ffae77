"""What the site has beyond its pages: reference pages made from the code, and files from outside `docs`."""
