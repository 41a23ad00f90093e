// Only carries torch_pch.h.
