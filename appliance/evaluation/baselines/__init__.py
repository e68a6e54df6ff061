"""What the appliance is compared with, one method a file; each is imported only when it is asked for."""
