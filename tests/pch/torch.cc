// Only carries torch.h.
