"""stub"""
from toolkit.sweep.points import PointRecord
def evaluate_point(point, bar): 
    raise NotImplementedError
