"""Bundles: a signed file that carries a learned prior to appliances, and the shelf that holds those installed.

::

    pack ─▶ one file ─▶ read: size, signature, manifest, tensors ─▶ Shelf.install ─▶ Shelf.in_service ─▶ the service
"""
