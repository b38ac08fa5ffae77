"""What is watched for in the results: tracks, zones and masks, events."""
