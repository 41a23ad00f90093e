"""Writes phi_new/: the configuration of phi/ as today's transformers writes it.

python make_phi_new.py   (transformers 5.23, without torch), after make_phi.py
"""
from pathlib import Path

from transformers import GenerationConfig, Phi3Config

here = Path(__file__).parent
Phi3Config.from_pretrained(here / "phi").save_pretrained(here / "phi_new")
GenerationConfig.from_pretrained(here / "phi").save_pretrained(here / "phi_new")
