// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccess} from "../src/interfaces/IAccess.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {CouncilHandler} from "./CouncilHandler.sol";

/// The same for credits, leases and groups.
abstract contract Handler is CouncilHandler {
    /* CREDITS AND LEASES */

    function openTranche(uint8 which, uint8 ahead, uint8 price) public {
        uint256 asset = _asset(which);
        uint32 window = access.currentWindow() + ahead % (HORIZON + 1);
        (bool isOpen,) = access.priceOf(access.creditId(asset, window, price));
        if (isOpen || ids.length == MOST_IDS || !ledger.isLive(asset)) return;
        address operator = ledger.assetOf(asset).operator;
        bool isOpened = _try(operator, address(access), abi.encodeCall(IAccess.open, (asset, window, price, price)));
        assertEq(isOpened, !_isReplaced(operator), "by the operator, while its key is not lost");
        if (isOpened) ids.push(access.creditId(asset, window, price));
    }

    function acquire(uint8 which, uint8 to_, uint64 amount) external increasesEndWithinTheLimit {
        (uint256 id, address to) = (ids[which % ids.length], _person(to_));
        uint256 most = _acquirable(id, to);
        (, uint128 price) = access.priceOf(id);
        amount = uint64(bound(amount, 1, most == 0 ? 1 : most));
        if (price != 0) fund(to, address(access), uint256(price) * amount);
        address sender = price == 0 ? ledger.assetOf(id >> 64).operator : to;
        bytes memory data = price == 0
            ? abi.encodeCall(IAccess.grant, (id, to, amount))
            : abi.encodeCall(IAccess.buy, (id, amount, price));
        if (_try(sender, address(access), data)) _checkAcquired(id, to);
    }

    function transferCredits(uint8 which, uint8 from_, uint8 to_, uint64 amount) external increasesEndWithinTheLimit {
        (uint256 id, address from, address to) = (ids[which % ids.length], _person(from_), _person(to_));
        amount = uint64(bound(amount, 0, access.balanceOf(from, id)));
        bool inside = members.rootOf(from) == members.rootOf(to);
        bytes memory data = abi.encodeWithSignature("transfer(address,uint256,uint256)", to, id, amount);
        if (!_try(from, address(access), data)) {
            if (inside) assertTrue(_isReplaced(from) || !members.isActive(to), "refused inside a group");
        } else if (!inside && amount != 0 && !_isEnded(id)) {
            _checkAcquired(id, to);
        }
    }

    function redeemCredits(uint8 which, uint8 holder_, uint64 amount) external increasesEndWithinTheLimit {
        (uint256 id, address holder) = (ids[which % ids.length], _person(holder_));
        uint256 most = access.balanceOf(holder, id);
        if (most == 0 || leases.length == MOST_LEASES) return;
        IAccess.Redemption memory r = redemption(holder, id, uint64(bound(amount, 1, most)));
        bytes32 lease = access.leaseId(r);
        if (_try(holder, address(access), abi.encodeCall(IAccess.redeem, (r)))) leases.push(lease);
    }

    function splitLease(uint8 which, uint64 amount) external {
        if (leases.length == 0 || leases.length == MOST_LEASES) return;
        bytes32 lease = leases[which % leases.length];
        IAccess.Lease memory l = access.leaseOf(lease);
        IAccess.Split memory s = splitting(lease, uint64(bound(amount, 1, uint256(l.amount) + 1)), SESSION_KEY);
        bytes32 part = access.partId(s);
        if (_try(l.holder, address(access), abi.encodeCall(IAccess.split, (s, "")))) leases.push(part);
    }

    function topUpLease(uint8 which, uint64 amount) external increasesEndWithinTheLimit {
        if (leases.length == 0) return;
        bytes32 lease = leases[which % leases.length];
        IAccess.Lease memory l = access.leaseOf(lease);
        amount = uint64(bound(amount, 1, access.balanceOf(l.holder, l.id) + 1));
        _try(l.holder, address(access), abi.encodeCall(IAccess.topUp, (toppingUp(lease, amount), "")));
    }

    function rotateKey(uint8 which) external {
        if (leases.length == 0) return;
        bytes32 lease = leases[which % leases.length];
        IAccess.Rotation memory r = rotation(lease, SESSION_KEY);
        _try(access.leaseOf(lease).holder, address(access), abi.encodeCall(IAccess.rotate, (r, "")));
    }

    function settleLease(uint8 which, uint64 gpuMs) external {
        if (leases.length == 0) return;
        bytes32 lease = leases[which % leases.length];
        gpuMs = uint64(bound(gpuMs, 0, uint256(access.leaseOf(lease).amount) * 1000));
        bytes memory data = abi.encodeCall(meter.settle, (batch(receipt(lease, gpuMs))));
        if (_try(relayer, address(meter), data) && gpuMs > signedMs[lease]) signedMs[lease] = gpuMs;
    }

    function refund(uint8 which, uint8 holder) external {
        if (leases.length != 0) {
            _try(relayer, address(access), abi.encodeCall(IAccess.refund, (leases[which % leases.length])));
        }
        bytes memory data = abi.encodeCall(IAccess.refundCredits, (ids[which % ids.length], _person(holder)));
        _try(relayer, address(access), data);
    }

    function anchorEpoch(uint8 by, bytes32 root) external {
        if (root == 0) return;
        address submitter = _person(by);
        uint64 epoch = meter.nextEpoch(submitter);
        vm.prank(submitter);
        meter.anchor(epoch, root, 1, 0, "");
    }

    /* GROUPS */

    function join(uint8 member_, uint8 controller_, bool byFinding) external {
        (address member, address controller) = (_person(member_), _person(controller_));
        if (members.rootOf(member) == members.rootOf(controller) || members.groups() <= LEAST_GROUPS) return;
        byFinding ? find(member, controller) : attach(member, controller);
    }

    function leaveGroup(uint8 member_) external {
        address member = _person(member_);
        if (_isReplaced(member) || members.rootOf(member) == member) return;
        uint48 readyAt = members.detachmentOf(member);
        if (readyAt == 0) {
            startDetach(member);
        } else if (vm.getBlockTimestamp() >= readyAt) {
            members.completeDetach(member);
            _beginsAnew(member);
        }
    }

    function challenge(uint8 member_, uint8 by) external {
        address member = _person(member_);
        if (members.detachmentOf(member) == 0) return;
        _try(_person(by), address(members), abi.encodeCall(IMembers.challengeDetach, (member, "evidence")));
    }

    function recoverKey(uint8 member_, bool veto) external {
        address member = _person(member_);
        if (_isReplaced(member)) return;
        (address successor, uint48 readyAt) = members.recoveryOf(member);
        if (readyAt == 0) {
            if (recoveries == MOST_RECOVERIES) return;
            startRecovery(member, _actor(string.concat("successor", vm.toString(++recoveries))));
        } else if (veto) {
            vm.prank(member);
            members.vetoRecovery();
        } else if (vm.getBlockTimestamp() >= readyAt) {
            members.completeRecovery(member);
            people.push(successor);
            _beginsAnew(member);
        }
    }

    /// Units, revenue, credits and leases: the sums of both accounts stay what they were.
    function recoverWhatItHas(uint8 member_) external increasesEndWithinTheLimit {
        address member = _person(member_);
        if (!_isReplaced(member)) return;
        address successor = _last(member);
        uint256[] memory sums = new uint256[](assets.length);
        for (uint256 i; i < assets.length; ++i) {
            sums[i] = ledger.balanceOf(member, assets[i]) + ledger.balanceOf(successor, assets[i]);
        }
        ledger.recover(member, assets);
        for (uint256 i; i < assets.length; ++i) {
            assertEq(ledger.balanceOf(member, assets[i]), 0);
            assertEq(ledger.balanceOf(successor, assets[i]), sums[i], "units moved by recovery are conserved");
            assertEq(ledger.revenueOf(assets[i], member), 0);
            assertTrue(ledger.assetOf(assets[i]).operator != member);
        }
        bytes32[] memory own = new bytes32[](leases.length);
        uint256 count;
        for (uint256 i; i < leases.length; ++i) {
            if (access.leaseOf(leases[i]).holder == member) own[count++] = leases[i];
        }
        assembly {
            mstore(own, count)
        }
        access.recover(member, ids, own);
    }

    function refuse(uint8 member_, bool refused) external {
        _try(_person(member_), address(members), abi.encodeCall(IMembers.refuseGifts, (refused)));
    }

    function lapseOrRenew(uint8 member_) external {
        address member = _person(member_);
        (, uint48 since, uint48 until,) = members.memberOf(member);
        if (since == 0 || _isReplaced(member) || members.isActive(member)) return;
        if (!_try(relayer, address(members), abi.encodeCall(IMembers.lapse, (member)))) {
            IMembers.Renewal memory r = IMembers.Renewal(member, uint48(vm.getBlockTimestamp() + 60 days), DEADLINE);
            assertGt(r.until, until);
            members.renew(r, attested(hashOf(r)));
            _beginsAnew(member);
        }
    }
}
