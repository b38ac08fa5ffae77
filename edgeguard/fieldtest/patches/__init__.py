"""Printable adversarial patches: the job, its optimization, printing, scenes; needs torch."""
